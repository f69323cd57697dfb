"""Rollouts: a checkpoint in a process of its own, or a policy server elsewhere, that commands the robot.

What takes long, each does in a thread of its own (worker.robot.acting). See docs/decisions/live.md.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from dexvla.act.chunks import StampedChunk
from dexvla.demo import DEMO_FOLDER, demo_checkpoint
from dexvla.errors import UserError
from dexvla.live.messages import Failure, InstructionIn, Mode, PolicyOut, RolloutIn
from worker.robot.acting import Acting
from worker.robot.arbiter import Arbiter, BusyError
from worker.robot.control import ControlLoop
from worker.robot.heartbeat import Heartbeat
from worker.robot.live import LiveRoutes, Predicted
from worker.robot.policy_process import PolicyProcesses
from worker.robot.policy_source import PolicySource
from worker.robot.sources import CommandSource
from worker.robot.stage import Stage

log = logging.getLogger("studio.robot")

_NICE = 10  # of a policy's process where the control loop and its frames must not wait


class Rollouts:
    """At most one rollout acts or waits. stage: of a simulated robot. logs: folder for the policies' logs.

    allows: whether a policy server's URL may be connected to. The API asks the same; a host that believed it alone
    would connect to whatever anybody with the studio's secret told it.
    """

    def __init__(
        self,
        *,
        loop: ControlLoop,
        arbiter: Arbiter,
        heartbeat: Heartbeat,
        stage: Stage | None,
        log_file: Path,
        on_change: Callable[[], None],
        allows: Callable[[str], bool],
    ) -> None:
        self._loop, self._arbiter, self._heartbeat, self._stage = loop, arbiter, heartbeat, stage
        self._on_change, self._allows = on_change, allows
        self._processes = PolicyProcesses(
            log_file=log_file,
            spare=DEMO_FOLDER if stage is not None and (DEMO_FOLDER / "config.json").is_file() else None,
            nice=0 if loop.info.simulated else _NICE,
        )
        self._starting = threading.Lock()  # who is second finds the first one's thread begun, and known
        self._now: Acting | None = None
        self._failure: Failure | None = None
        self._chunk: StampedChunk | None = None  # the last that was told, and how many were
        self._chunks = 0

    def plug_into(self, live: LiveRoutes) -> None:
        live.predictions = self
        live.verb("prepare", None, lambda _, by: self.prepare())
        live.verb("rollout", RolloutIn, self.start)
        live.verb("instruction", InstructionIn, self.instruct)
        live.verb("resume", None, lambda _, by: self.resume(by))
        live.verb("end", None, lambda _, by: self.end(by))

    def prepare(self) -> None:
        """The demo may be asked for soon: load it, unless something is going on that this could slow down."""
        if self._arbiter.now.mode is Mode.IDLE:  # a policy that is paused has a process of its own
            self._processes.prepare()

    def start(self, request: RolloutIn, by: str) -> None:
        """Begin; what goes wrong later is told by the live state. Raises BusyError, UserError."""
        checkpoint = _checkpoint(request, self._allows)
        if request.scene is not None and self._stage is None:
            raise UserError("this robot is no simulator: it has no scene that could be set up")
        if request.scene is not None and self._stage is not None:
            self._stage.check(request.scene)
            self._stage.refuse_recorded()
        with self._starting:
            self._begin(request, checkpoint, by)

    def _begin(self, request: RolloutIn, checkpoint: Path | None, by: str) -> None:
        before = self._now
        acting = Acting(
            request,
            checkpoint=checkpoint,
            loop=self._loop,
            arbiter=self._arbiter,
            heartbeat=self._heartbeat,
            stage=self._stage,
            processes=self._processes,
            before=before,
            on_change=self._on_change,
            on_failure=self._fail,
        )
        self._arbiter.begin_policy(acting.source, instead=request.instead)
        if before is not None:
            before.end()
        log.info("rollout of %s begun by %s", request.url or request.path or "the demo", by)
        self._now, self._failure = acting, None
        acting.start()

    def _fail(self, failure: Failure) -> None:
        self._failure = failure

    def instruct(self, request: InstructionIn, by: str) -> None:
        self._acting().instruct(request.instruction)

    def resume(self, by: str) -> None:
        self._arbiter.resume()
        log.info("rollout resumed by %s", by)
        acting = self._current()
        if acting is not None:
            acting.resumed.set()

    def end(self, by: str) -> None:
        acting = self._acting()
        acting.end()
        self._arbiter.end_policy(f"ended by {by}", source=acting.source)

    def end_all(self) -> None:
        """The host ends: begin to end what acts. Waits for nothing."""
        if self._now is not None:
            self._now.end()

    def close(self, seconds: float) -> None:
        """End whatever acts, and its process; what does not end in time the kernel ends with ours."""
        self.end_all()
        if self._now is not None and self._now.is_alive():
            self._now.join(seconds)
        self._processes.close(seconds)

    # --- for the live state ---------------------------------------------------------------------------------------

    def policy_of(self, source: CommandSource) -> PolicyOut | None:
        return source.shown() if isinstance(source, PolicySource) else None

    @property
    def failure(self) -> Failure | None:
        return self._failure

    def chunk(self) -> Predicted | None:
        acting = self._current()
        rollout = None if acting is None else acting.source.rollout
        newest = None if rollout is None else rollout.newest
        if newest is None:
            return None
        if newest is not self._chunk:
            self._chunk, self._chunks = newest, self._chunks + 1
        return Predicted(number=self._chunks, step=newest.step, actions=newest.actions)

    def _current(self) -> Acting | None:
        acting = self._now
        return acting if acting is not None and self._arbiter.now.policy is acting.source else None

    def _acting(self) -> Acting:
        """Of two where one takes the other's place just now, the new one."""
        with self._starting:
            acting = self._current()
        if acting is None:
            raise BusyError("no policy acts; start a rollout")
        return acting


def _checkpoint(request: RolloutIn, allows: Callable[[str], bool]) -> Path | None:
    """The checkpoint to serve, None for a server elsewhere. Raises UserError."""
    given = [request.path is not None, request.url is not None, request.demo]
    if sum(given) != 1:
        raise UserError("a rollout needs exactly one of path, url and demo")
    if request.demo:
        return demo_checkpoint()
    if request.url is not None:
        if not request.url.startswith(("ws://", "wss://")):
            raise UserError(f"policy server {request.url!r}: expected ws://HOST:PORT or wss://HOST:PORT")
        if not allows(request.url):
            raise UserError(
                f"policy server {request.url!r} is not one of STUDIO_POLICY_SERVERS where this robot's host runs; its "
                "administrator lists those that it may connect to (HOST:PORT)"
            )
        return None
    return Path(request.path or "")
