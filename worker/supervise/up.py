"""`studio up`: everything on one machine, as child processes of one that watches them.

Order of starting: data folder and its lock, port, broker, tables, then API, worker and robot host together. Order of
stopping: robot host, worker and API together, then the broker. A part that dies is started again. Children are in
process groups of their own, so that a terminal's Ctrl-C reaches this process alone, and are told by the kernel when
it dies without saying so.
"""

import errno
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import redis
from sqlalchemy.exc import DatabaseError

from backend.core.db import Database
from backend.core.folders import DataFolder
from backend.core.settings import Settings
from backend.gateway.limits import raise_file_limit
from backend.migrations.migrate import migrate
from backend.storage.mark import refuse_damaged
from dexvla.errors import UserError
from dexvla.loading import quick_imports
from worker.admin.verify import look_around, make_room
from worker.core.data_lock import locked
from worker.core.processes import keep_what_is_there
from worker.supervise.broker import broker_command, move_aside
from worker.supervise.entrance import address, entrance
from worker.supervise.parts import Part, look_after
from worker.supervise.patience import Patience

_STILL_SECONDS = 60.0  # a part that is waited for and has done nothing for so long has no chance
_LONGEST_START_SECONDS = 1800.0  # however busy
_STOP_SECONDS = 7.0  # for API, worker and robot host; the broker gets what is left of ten
_BROKER_STOP_SECONDS = 2.0
_TICK_SECONDS = 0.2
_NEEDED = (
    "backend.app",
    "worker.jobs.celery_worker",
    "worker.supervise.api",
    "worker.supervise.robot_host",
    "worker.supervise.worker",
)


def up(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM. Raises UserError for what keeps a studio from starting."""
    signals = _Signals()
    raise_file_limit()  # for the children, too
    folder = settings.folder
    with _claimed(folder), closing(_listen(settings)) as listener, _Parts(settings) as parts:
        make_room(settings)
        if settings.redis_url is None:
            if (aside := move_aside(folder.broker, folder.lost)) is not None:
                _say(f"What lay in {folder.broker} was moved to {aside}: the broker keeps no files, jobs are rows")
            parts.broker = parts.start("broker", broker_command(folder.broker, folder.broker_socket))
        _warm_up()
        _await_broker(settings, parts.broker, signals)
        database = _open_database(settings)
        for line in look_around(settings):
            _say(line)
        database.close()  # what is open here cannot be forked
        descriptor = listener.fileno()
        os.set_inheritable(descriptor, True)
        parts.start("api", [*_studio("api"), "--fd", str(descriptor)], fds=(descriptor,))
        parts.start("worker", _studio("worker"))
        parts.start("robot", _studio("robot"))
        port = listener.getsockname()[1]
        if _await_ready(settings, address(settings, port), parts, signals):
            _say(f"Studio ready: {entrance(settings, database, port)}")
        database.close()
        while not signals.stop:
            parts.look_after()
            time.sleep(_TICK_SECONDS)
        _say("Stopping")
    _say("Stopped; everything is kept in " + str(settings.data))


def _warm_up() -> None:
    """Import what the parts need, once: they are forks of this process, and have it then."""
    with quick_imports():
        for name in _NEEDED:
            importlib.import_module(name)
    keep_what_is_there()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _studio(command: str) -> list[str]:
    return [sys.executable, "-m", "worker.cli", command]


class _Signals:
    """The first SIGINT or SIGTERM asks to stop; more of them change nothing, stopping is bounded anyway."""

    def __init__(self) -> None:
        self.stop = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.stop = True


@contextmanager
def _claimed(folder: DataFolder) -> Iterator[None]:
    """Make the data folder and hold its lock. Raises UserError if it cannot be written or another studio has it."""
    try:
        folder.prepare()
        with tempfile.TemporaryFile(dir=folder.root):
            pass
        folder.lock.touch()
    except OSError as error:
        raise UserError(
            f"{folder.root}: the data folder cannot be written ({error.strerror}); name another with STUDIO_DATA"
        ) from error
    with locked(folder):
        yield


def _listen(settings: Settings) -> socket.socket:
    """Bound here, so that a port in use is told at once and restarts of the API keep it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it; asyncio sets it only on sockets that it made itself.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except (OSError, socket.gaierror) as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {settings.port} on {settings.host} is in use; choose another with STUDIO_PORT"
            ) from error
        raise UserError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
    listener.listen(128)
    return listener


class _Parts:
    """The children. Leaving the context stops them all and leaves none."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._folder = settings, settings.folder
        self._parts: list[Part] = []
        self.broker: Part | None = None

    def __enter__(self) -> "_Parts":
        return self

    def start(self, name: str, argv: list[str], *, fds: tuple[int, ...] = ()) -> Part:
        part = Part(name, argv, self._folder.logs / f"{name}.log", fds)
        part.start(self._environment())
        self._parts.append(part)
        return part

    def _environment(self) -> dict[str, str]:
        given = {"STUDIO_DATA": str(self._folder.root), "STUDIO_HOST": self._settings.host}
        return {**os.environ, **given, "PYTHONUNBUFFERED": "1"}

    def look_after(self) -> None:
        look_after(self._parts, self._environment(), _say)

    def named(self, names: Collection[str]) -> list[Part]:
        return [part for part in self._parts if part.name in names and part.process is not None]

    def dead(self) -> Part | None:
        return next(
            (part for part in self._parts if part.process is not None and part.process.poll() is not None), None
        )

    def __exit__(self, *error: object) -> None:
        others = [part for part in self._parts if part is not self.broker]
        _stop(others, _STOP_SECONDS)
        if self.broker is not None:
            _stop([self.broker], _BROKER_STOP_SECONDS)


def _watched(part: Part) -> tuple[str, int, Path]:
    """For `Patience`."""
    assert part.process is not None
    assert part.log is not None
    return part.name, part.process.pid, part.log


def _stop(parts: list[Part], seconds: float) -> None:
    """SIGTERM to each, SIGKILL to the whole group of what is left after `seconds`."""
    running = [part.process for part in parts if part.process is not None]
    for process in running:
        with suppress(ProcessLookupError):
            process.terminate()
    deadline = time.monotonic() + seconds
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _open_database(settings: Settings) -> Database:
    """Reached and migrated. Raises UserError."""
    database = Database(settings.sql_url)
    try:
        if database.sqlite:
            refuse_damaged(settings.folder.database)
        migrate(database)
    except DatabaseError as error:
        place = "" if settings.database_url else f" ({settings.folder.database})"
        raise UserError(f"the database{place} cannot be used: {' '.join(str(error.orig).split())}") from error
    return database


def _await_broker(settings: Settings, part: Part | None, signals: _Signals) -> None:
    """part: the private broker, None for a server of its own."""
    patience = Patience(_STILL_SECONDS, _LONGEST_START_SECONDS)
    with redis.Redis.from_url(settings.events_url) as client:
        while not signals.stop:
            try:
                client.ping()
                return
            except redis.RedisError as error:
                if part is None:
                    raise UserError(f"the broker at REDIS_URL cannot be reached: {error}") from error
                assert part.process is not None
                if part.process.poll() is not None or (lost := patience.lost([_watched(part)])) is not None:
                    why = part.tail() if part.process.poll() is not None else lost
                    raise UserError(f"the broker did not start: {why} (see {part.log})") from None
                if (news := patience.news(["broker"])) is not None:
                    _say(news)
                time.sleep(0.05)


def _await_ready(settings: Settings, base: str, parts: _Parts, signals: _Signals) -> bool:
    """Until API, worker and robot answer, for as long as they get on. Raises UserError if one dies or hangs."""
    patience = Patience(_STILL_SECONDS, _LONGEST_START_SECONDS)
    with httpx.Client(timeout=2, trust_env=False) as client:  # straight to it, whatever proxy is set
        while not signals.stop:
            if (dead := parts.dead()) is not None:
                raise UserError(f"{dead.name} did not start: {dead.tail()} (see {dead.log})")
            waited = _not_ready(client, base)
            if not waited:
                return True
            if (lost := patience.lost(_watched(part) for part in parts.named(waited))) is not None:
                raise UserError(f"the studio does not start: {lost}; see {settings.folder.logs}")
            if (news := patience.news(waited)) is not None:
                _say(news)
            time.sleep(0.1)
    return False


def _not_ready(client: httpx.Client, base: str) -> list[str]:
    """Names of the parts that have not said yet that they are there."""
    wanted = base.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    try:
        health = client.get(f"{wanted}/api/health").raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return ["api"]
    if not health["database"] == health["broker"] == "ok":  # a disk that runs full keeps no studio from starting
        return ["api"]
    return [name for name, there in (("worker", health["workers"]), ("robot", health["robots"])) if not there]
