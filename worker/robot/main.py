"""A robot host from start to end: `run` owns one robot until SIGINT or SIGTERM."""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import uvicorn

from dexvla.errors import UserError
from dexvla.live import policy_servers
from dexvla.live.hosting import ROBOT_NAME
from dexvla.live.messages import SceneIn
from dexvla.live.status import HostStatus
from worker.core.processes import keep_what_is_there, wake_promptly
from worker.robot.announcer import Announcer
from worker.robot.arbiter import Arbiter
from worker.robot.bearer import BearerAuth
from worker.robot.cameras import CameraHub
from worker.robot.control import ControlLoop, all_cameras
from worker.robot.control_socket import ControlSocket
from worker.robot.driving import Driving
from worker.robot.heartbeat import Heartbeat
from worker.robot.keeper import Keeper
from worker.robot.latch import StopLatch
from worker.robot.live import LiveRoutes
from worker.robot.plugged import DEFAULT_ROBOT, PluggedRobot
from worker.robot.recording import Recording, Surroundings
from worker.robot.rollouts import Rollouts
from worker.robot.server import HostServer
from worker.robot.settings import HostSettings
from worker.robot.store import Store
from worker.robot.studio_monitor import StudioMonitor
from worker.robot.video import VideoSocket

log = logging.getLogger("studio.robot")

_END_SECONDS = 0.8  # for each of the parts that end
_PORT_DIGITS = 5
_MAX_SOCKET_BYTES = 16_384  # what a page sends is small
_KEEP_ALIVE_SECONDS = 600  # the gateway keeps its connection, so that no stop has to wait for one
_SWITCH_SECONDS = 0.001  # between threads: the default of 5 ms would delay the control loop by as much


def run(
    settings: HostSettings,
    store: Store,
    *,
    name: str = "aloha-sim",
    port: int = 0,
    robot: str = DEFAULT_ROBOT,
    options: Mapping[str, Any] = MappingProxyType({}),
    task: str = "",
) -> None:
    """Own a robot until SIGINT or SIGTERM. store: the studio, closed by whoever made it.

    name: as pages show it. robot, options, task: see `PluggedRobot`.

    port: of the host's own server, 0 takes the one that the last host of this robot had, else a free one;
    settings.address overrides both. Only the API talks to it, with a token that it knows. Raises UserError for a name
    that is taken, a port that is in use, or a robot that there is not.
    """
    if not re.fullmatch(ROBOT_NAME, name):
        raise UserError(f"robot name {name!r}: expected letters, digits, _ . - and at most 64 of them")
    plugged = PluggedRobot(robot, options=options, task=task)
    sys.setswitchinterval(_SWITCH_SECONDS)
    wake_promptly()  # this thread, which hears of stops
    host = settings.listen
    if settings.address is not None:
        host, port = "0.0.0.0", int(settings.address.rpartition(":")[2])
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"{name}.lock"
    ran_before = lock.exists()
    with _only_one(lock, name) as claimed, _listen(host, port, before=_port_before(claimed)) as listening:
        _remember_port(claimed, listening.getsockname()[1])
        address = settings.address or f"{host}:{listening.getsockname()[1]}"
        latch = StopLatch(folder / f"{name}.latch", ran_before=ran_before)
        asyncio.run(
            _serve(settings, store, name=name, address=address, listening=listening, plugged=plugged, latch=latch)
        )
        latch.close()


async def _serve(
    settings: HostSettings,
    store: Store,
    *,
    name: str,
    address: str,
    listening: socket.socket,
    plugged: PluggedRobot,
    latch: StopLatch,
) -> None:
    robot = plugged.first()
    hub = CameraHub(all_cameras(robot))
    arbiter = Arbiter(latch)
    loop = ControlLoop(robot, latch=latch, arbiter=arbiter, hub=hub, task=plugged.task)

    def status() -> HostStatus:
        return loop.status().model_copy(update={"pid": os.getpid(), "elsewhere": settings.elsewhere})

    auth = BearerAuth(settings.token)
    announcer = Announcer(store, kind=plugged.name, address=address, status=status, on_token=auth.expect)
    live = LiveRoutes(auth=auth, loop=loop, arbiter=arbiter)

    def changed() -> None:
        announcer.hurry()
        live.changed()

    loop.on_change = changed
    loop.on_first_connected = keep_what_is_there  # once: scenes that are replaced later are to be freed
    arbiter.on_change = live.changed
    heartbeat = Heartbeat(latch)
    heartbeat.on_change = live.changed
    live.holder = lambda: None if heartbeat.holder is None else heartbeat.holder.by
    control = ControlSocket(auth=auth, heartbeat=heartbeat)
    control.sink = Driving(arbiter, prepare=lambda: plugged.teleop(robot.info))
    monitor = StudioMonitor(store.trouble, arbiter=arbiter)
    live.tasks, live.arms = plugged.tasks, plugged.arms
    stage = plugged.stage(robot, loop=loop, arbiter=arbiter)
    if stage is not None:
        live.scene = stage.scene
        live.building = lambda: stage.building
        live.verb("scene", SceneIn, lambda scene, by: stage.show(scene))
    rollouts = Rollouts(
        loop=loop,
        arbiter=arbiter,
        heartbeat=heartbeat,
        stage=stage,
        log_file=settings.logs / f"policy-{name}.log",
        on_change=live.changed,
        allows=lambda url: policy_servers.allows(settings.policy_servers, url),
    )
    rollouts.plug_into(live)
    recordings = settings.folder / f"{name}.recordings"
    keeper = Keeper(store, recordings, on_change=live.changed)

    def surroundings() -> Surroundings:
        scene = None if stage is None else stage.scene()
        return Surroundings(
            info=loop.info,
            render_profile=None if stage is None else stage.render_profile,
            task=None if scene is None else str(scene.task),
            seed=None if scene is None else scene.seed,
        )

    recording = Recording(
        folder=recordings,
        keeper=keeper,
        surroundings=surroundings,
        encode=hub.encoded,
        attended=lambda: heartbeat.holder is not None,
        latch=latch,
    )
    recording.plug_into(live)
    live.recorder = recording
    if stage is not None:
        stage.recorded = lambda: recording.recording is not None
    loop.listen(recording)
    loop.attended = lambda: live.followed or heartbeat.holder is not None or recording.active
    video = VideoSocket(auth=auth, hub=hub)
    routes = [*control.routes, *video.routes, *live.routes]
    host = HostServer(auth=auth, loop=loop, latch=latch, hub=hub, routes=routes, on_change=changed)
    events = asyncio.get_running_loop()
    host.attach(events)
    video.attach(events)
    live.attach(events)
    config = uvicorn.Config(
        host.app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ws_max_size=_MAX_SOCKET_BYTES,
        ws_per_message_deflate=False,
    )
    server = _Server(config)

    def leave() -> None:
        server.should_exit = True
        announcer.end()
        rollouts.end_all()
        loop.end()

    for number in (signal.SIGINT, signal.SIGTERM):
        events.add_signal_handler(number, leave)
    loop.start()
    keeper.start()
    announcer.start()
    monitor.start()
    log.info("robot host %s at %s", name, address)
    try:
        await server.serve(sockets=[listening])
    finally:
        monitor.end()
        rollouts.close(_END_SECONDS)
        announcer.close(_END_SECONDS)
        recording.close()
        keeper.close(_END_SECONDS)
        hub.close()
        if not loop.close(_END_SECONDS):
            # The renderer's process ends by itself when ours does: its standard input is closed then.
            log.warning("the robot did not end in time")
            latch.close()
            os._exit(0)


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would raise them again after it ended, before the robot was freed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _only_one(path: Path, name: str) -> Iterator[BinaryIO]:
    """The lock's file, which also keeps the host's port."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"robot {name} has a host already; give this one another name, or end that one") from None
        yield file


# A host that is started again while the database is locked, full or away cannot announce a new address. On the port of
# the one before, a stop finds it all the same.


def _port_before(claimed: BinaryIO) -> int:
    """0 where none is known."""
    said = os.pread(claimed.fileno(), _PORT_DIGITS, 0).strip()
    return int(said) if said.isdigit() else 0


def _remember_port(claimed: BinaryIO, port: int) -> None:
    """Written over the one before, so that a full disk has room for it."""
    try:
        os.pwrite(claimed.fileno(), str(port).encode().rjust(_PORT_DIGITS), 0)
    except OSError as error:
        log.warning("the port cannot be kept for the next start (%s)", error.strerror)


@contextlib.contextmanager
def _listen(host: str, port: int, *, before: int = 0) -> Iterator[socket.socket]:
    """port: 0 takes `before`, or a free one where that is 0 or another program's by now."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        try:
            try:
                listening.bind((host, port or before))
            except (OSError, OverflowError):
                if port or not before:
                    raise
                listening.bind((host, 0))
        except (OSError, OverflowError) as error:
            raise UserError(f"{host}:{port}: cannot be listened on: {error}") from error
        yield listening
