"""The application's process: started, watched and started again by the gateway, and what runs in it.

It listens on a unix socket in a folder that is the studio's alone, so it may believe what the gateway says of whom a
request comes from. Its share of a busy processor, with all that runs in it (password hashing, inspections), is smaller
than the gateway's and the robot hosts', in whatever way the kernel shares.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import structlog
import uvicorn

from backend.core import logs
from backend.core.settings import Settings
from dexvla.loading import quick_imports
from worker.core.forks import Child, begin
from worker.core.processes import die_with_parent, giving_way, keep_what_is_there
from worker.supervise.restart import Restarts

log = structlog.get_logger()

_NICE = 10
_STOP_SECONDS = 4.0
_BACKLOG = 1024


class ApplicationProcess:
    """Belongs to the gateway's event loop. `start` does not wait until it is ready.

    The first one is a fork of the gateway's process if `launch` begins it, before there are a loop and threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.folder.sockets
        self._environment = {**os.environ, **settings.environment(), "STUDIO_HOST": settings.host}
        self._process: Child | None = None
        self._launched: int | None = None  # where the first one says that it is ready
        self._keeping: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None
        self.ready = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_ready: Callable[[], None] = lambda: None
        # Through a descriptor of the folder, whose path may be too long for a socket's name.
        self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        self._name = f"application-{os.getpid()}.sock"
        self.socket = f"/proc/self/fd/{self._descriptor}/{self._name}"

    def launch(self) -> None:
        """Begin the first one now. Where there is no memory or file for it, `start` tries again."""
        self._listen()
        with suppress(OSError):
            self._launched = self._begin(fork=True)

    async def start(self) -> None:
        self._listen()
        self._keeping = asyncio.create_task(self._keep())

    def _listen(self) -> None:
        if self._listening is not None:
            return
        _remove_old(self._folder)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self.socket)
        os.chmod(self.socket, 0o600)
        self._listening.listen(_BACKLOG)

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        self.ready = False
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._end, self._process)
        if self._listening is not None:
            self._listening.close()
            (self._folder / self._name).unlink(missing_ok=True)

    def _end(self, process: Child) -> None:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def _keep(self) -> None:
        restarts = Restarts(first=0.25, longest=15.0)
        while True:
            restarts.begin()
            try:
                status: int | str = await self._run()
            except OSError as error:  # no memory or no file for another process
                status = f"it cannot be started: {error}"
            pause = restarts.pause()
            log.error("the application ended", status=status, again_in_seconds=pause)
            await asyncio.sleep(pause)

    def _begin(self, *, fork: bool) -> int:
        """Returns the pipe that it writes to when it is ready. Raises OSError if it cannot be started."""
        assert self._listening is not None
        told, tells = os.pipe()
        descriptors = (self._listening.fileno(), tells)
        # From the main thread: the kernel ends the child with the thread that started it.
        try:
            self._process = begin(
                [sys.executable, "-m", "worker.cli", "application", "--fd", str(descriptors[0]), "--ready", str(tells)],
                environment=self._environment,
                before=giving_way(_NICE, die_with_parent(signal.SIGTERM)),
                fds=descriptors,
                session=True,  # where the kernel shares by session, its hashing delays no thread of ours
                fork=fork,
            )
        except OSError:
            os.close(told)
            raise
        finally:
            os.close(tells)
        return told

    async def _run(self) -> int:
        """Its exit status. Raises OSError if it cannot be started."""
        told, self._launched = self._launched, None
        if told is None:
            told = self._begin(fork=False)
        assert self._process is not None
        try:
            self.ready = await _one_byte(told)
            if self.ready:
                self.on_ready()
                await _one_byte(told)  # its end closes the pipe
        finally:
            self.ready = False
            self.on_end()
            os.close(told)
        return await asyncio.to_thread(self._process.wait)


async def _one_byte(descriptor: int) -> bool:
    """Wait for a byte of a pipe; False for its end."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(descriptor, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    return bool(os.read(descriptor, 1))


def _remove_old(folder: Path) -> None:
    """Sockets that killed gateways left."""
    for file in folder.glob("application-*.sock"):
        pid = file.name.removeprefix("application-").removesuffix(".sock")
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)


def serve(settings: Settings, *, fd: int, ready: int) -> None:
    """The application itself, on the inherited unix socket `fd`; says through the pipe `ready` that it answers."""
    with quick_imports():
        from backend.app import create_app  # the gateway, which starts this process, does without all of it

    logs.configure()
    config = uvicorn.Config(
        create_app(settings),
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=3600,  # the gateway keeps its connections
        ws_max_size=2**20,
        ws_per_message_deflate=False,
        proxy_headers=True,
        forwarded_allow_ips="*",  # nobody but the gateway reaches this socket
        server_header=False,
    )
    config.load()  # imports what serves
    keep_what_is_there()
    _Server(config, ready).run(sockets=[socket.socket(fileno=fd)])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: int) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        os.write(self._ready, b"1")
