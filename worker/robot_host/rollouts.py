"""Rollouts: a checkpoint in a process of its own, or a policy server elsewhere, that commands the robot.

One thread a rollout does all that takes long: starting the process, waiting until it is ready, giving a simulator the
policy's cameras, asking for chunks. See docs/decisions/live.md.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from backend.live.messages import InstructionIn, PolicyOut, Reasoning, RolloutIn
from dexvla.act.base import PolicyMetadata
from dexvla.act.chunks import StampedChunk
from dexvla.act.client import PolicyAwayError, PolicyServerError, RemotePolicy
from dexvla.act.rollout import Question, Rollout, misfits
from dexvla.demo import demo_checkpoint
from dexvla.errors import UserError
from worker.robot_host.cockpit import BusyError, Cockpit
from worker.robot_host.control import ControlLoop
from worker.robot_host.live import LiveRoutes, Predicted
from worker.robot_host.policy_process import PolicyProcess
from worker.robot_host.policy_source import PolicySource
from worker.robot_host.stage import Stage
from worker.robot_host.watch import Watch

log = logging.getLogger("studio.robot")

ANSWER_SECONDS = 10.0  # without an answer for so long, a policy hangs
_CONNECT_SECONDS = 5.0
_READY_SECONDS = 60.0  # a server elsewhere that is still loading
_LOOK_SECONDS = 0.25
_DYING_SECONDS = 0.5  # between a closed connection and the end of the process that closed it


class Rollouts:
    """At most one rollout acts or waits. stage: of a simulated robot. logs: folder for the policies' logs."""

    def __init__(
        self,
        *,
        loop: ControlLoop,
        cockpit: Cockpit,
        watch: Watch,
        stage: Stage | None,
        log_file: Path,
        on_change: Callable[[], None],
    ) -> None:
        self._loop, self._cockpit, self._watch, self._stage = loop, cockpit, watch, stage
        self._log_file, self._on_change = log_file, on_change
        self._now: _Acting | None = None
        self._chunk: StampedChunk | None = None  # the last that was told, and how many were
        self._chunks = 0

    def plug_into(self, live: LiveRoutes) -> None:
        live.predictions = self
        live.verb("rollout", RolloutIn, self.start)
        live.verb("instruction", InstructionIn, self.instruct)
        live.verb("resume", None, lambda _, by: self.resume(by))
        live.verb("end", None, lambda _, by: self.end(by))

    def start(self, asked: RolloutIn, by: str) -> None:
        """Begin; what goes wrong later is told by the live state. Raises BusyError, UserError."""
        acting = _Acting(
            asked,
            checkpoint=_checkpoint(asked),
            loop=self._loop,
            cockpit=self._cockpit,
            watch=self._watch,
            stage=self._stage,
            log_file=self._log_file,
            on_change=self._on_change,
        )
        self._cockpit.begin_policy(acting.source)
        log.info("rollout of %s begun by %s", asked.url or asked.path or "the demo", by)
        self._now = acting
        acting.start()

    def instruct(self, asked: InstructionIn, by: str) -> None:
        self._acting().instruct(asked.instruction)

    def resume(self, by: str) -> None:
        self._cockpit.resume()
        log.info("rollout resumed by %s", by)
        acting = self._current()
        if acting is not None:
            acting.resumed.set()

    def end(self, by: str) -> None:
        acting = self._acting()
        acting.end()
        self._cockpit.end_policy(f"ended by {by}", source=acting.source)

    def end_all(self) -> None:
        """The host ends: begin to end what acts. Waits for nothing."""
        if self._now is not None:
            self._now.end()

    def close(self, seconds: float) -> None:
        """End whatever acts, and its process; what does not end in time the kernel ends with ours."""
        self.end_all()
        if self._now is not None and self._now.is_alive():
            self._now.join(seconds)

    # --- for the live state ---------------------------------------------------------------------------------------

    @property
    def policy(self) -> PolicyOut | None:
        acting = self._current()
        return None if acting is None else acting.told()

    def chunk(self) -> Predicted | None:
        acting = self._current()
        rollout = None if acting is None else acting.source.rollout
        newest = None if rollout is None else rollout.newest
        if newest is None:
            return None
        if newest is not self._chunk:
            self._chunk, self._chunks = newest, self._chunks + 1
        return Predicted(number=self._chunks, step=newest.step, actions=newest.actions)

    def _current(self) -> "_Acting | None":
        acting = self._now
        return acting if acting is not None and self._cockpit.now.policy is acting.source else None

    def _acting(self) -> "_Acting":
        acting = self._current()
        if acting is None:
            raise BusyError("no policy acts; start a rollout")
        return acting


def _checkpoint(asked: RolloutIn) -> Path | None:
    """The checkpoint to serve, None for a server elsewhere. Raises UserError."""
    given = [asked.path is not None, asked.url is not None, asked.demo]
    if sum(given) != 1:
        raise UserError("a rollout needs exactly one of path, url and demo")
    if asked.demo:
        return demo_checkpoint()
    if asked.url is not None:
        if not asked.url.startswith(("ws://", "wss://")):
            raise UserError(f"policy server {asked.url!r}: expected ws://HOST:PORT or wss://HOST:PORT")
        return None
    return Path(asked.path or "")


class _Acting(threading.Thread):
    """One rollout, from the request to its end."""

    def __init__(
        self,
        asked: RolloutIn,
        *,
        checkpoint: Path | None,
        loop: ControlLoop,
        cockpit: Cockpit,
        watch: Watch,
        stage: Stage | None,
        log_file: Path,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(name="rollout", daemon=True)
        self._asked, self._checkpoint, self._instruction = asked, checkpoint, asked.instruction
        self._loop, self._cockpit, self._stage = loop, cockpit, stage
        self._log_file, self._on_change = log_file, on_change
        self._process: PolicyProcess | None = None
        self._metadata: PolicyMetadata | None = None
        self._ended = threading.Event()
        self.resumed = threading.Event()
        self.source = PolicySource(
            telemetry=loop.telemetry, watch=watch, cockpit=cockpit, control_hz=loop.info.control_hz
        )

    def instruct(self, instruction: str) -> None:
        self._instruction = instruction
        self.source.instruct(instruction)

    def end(self) -> None:
        """Begin to end; waits for nothing."""
        self._ended.set()
        self.resumed.set()

    def told(self) -> PolicyOut:
        rollout, said, metadata = self.source.rollout, self.source.said, self._metadata
        name = metadata.checkpoint if metadata is not None else str(self._asked.url or self._checkpoint)
        return PolicyOut(
            name="demo" if self._asked.demo else name,
            checkpoint_id=self._asked.checkpoint_id,
            instruction=self._instruction,
            reasoning=None if said is None else Reasoning(step=said.step, text=said.text, done=said.done),
            latency_ms=None if rollout is None or rollout.latency_s is None else round(1000 * rollout.latency_s, 1),
            chunks=0 if rollout is None else rollout.chunks,
            late_steps=0 if rollout is None else rollout.late_steps,
            refused=None if rollout is None else rollout.refused,
            ready=rollout is not None,
        )

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                try:
                    self._act()
                except UserError as error:
                    self._give_up(str(error))
        except Exception as error:
            log.exception("the rollout failed")
            self._cockpit.end_policy(f"the rollout failed ({error or type(error).__name__})", source=self.source)
        finally:
            self.source.end()
            if self._process is not None:
                self._process.end()
            self._on_change()

    def _give_up(self, reason: str) -> None:
        """Before the first chunk could be asked for: end. Later: pause, and try again once somebody resumes it."""
        if self._ended.is_set():
            return
        log.warning("the policy: %s", reason)
        if self._metadata is None:
            self._cockpit.end_policy(reason, source=self.source)
            self._ended.set()
            return
        self.resumed.clear()
        self.source.end()
        if self._process is not None:
            self._process.end()  # it may hang; whoever resumes gets a new one
        self._cockpit.pause(reason, source=self.source)
        self._on_change()
        self.resumed.wait()

    def _act(self) -> None:
        """Connect and answer questions until the end, or until the policy is away (PolicyAwayError)."""
        rollout: Rollout | None = None
        while not self._ended.is_set():
            with self._connected() as policy:
                if self._ended.is_set():
                    return
                if rollout is None:
                    rollout = self._begin(policy.metadata)
                elif policy.metadata != self._metadata:
                    raise UserError("the server has another policy now; resume to let that one act")
                self._answer(policy)

    def _connected(self) -> RemotePolicy:
        if self._checkpoint is None:
            assert self._asked.url is not None
            return RemotePolicy(
                self._asked.url,
                connect_timeout=_CONNECT_SECONDS,
                ready_timeout=_READY_SECONDS,
                infer_timeout=ANSWER_SECONDS,
            )
        if self._process is None or not self._process.alive:
            self._process = PolicyProcess(self._checkpoint, log_file=self._log_file)
        address = self._process.address(self._ended)
        if address is None:
            raise UserError("ended before the policy was loaded")
        return RemotePolicy(
            address, api_key=self._process.key, connect_timeout=_CONNECT_SECONDS, infer_timeout=ANSWER_SECONDS
        )

    def _begin(self, metadata: PolicyMetadata) -> Rollout:
        """Raises UserError with every reason why policy and robot do not fit."""
        if self._stage is not None:
            self._stage.fit(metadata)
        render = None if self._stage is None else str(self._stage.render_profile)
        reasons = misfits(metadata, self._loop.info, render_profile=render)
        if reasons:
            raise UserError(f"{metadata.checkpoint} does not fit this robot: {'; '.join(reasons)}")
        rollout = Rollout(
            metadata,
            instruction=self._instruction,
            control_hz=self._loop.info.control_hz,
            execute_steps=self._asked.execute_steps,
        )
        self._metadata = metadata
        self.source.begin(rollout, metadata.camera_names)
        self._on_change()
        return rollout

    def _answer(self, policy: RemotePolicy) -> None:
        """Until the end, or until an answer ended the connection: that one is refused, and a new one is made."""
        while not self._ended.is_set():
            if self._process is not None and not self._process.alive:
                raise self._away("")
            asked = self.source.next_question(_LOOK_SECONDS)
            if asked is None:
                continue

            def hear(text: str, question: Question = asked.question) -> None:
                self.source.hear(question, text)
                self._on_change()

            try:
                chunk = policy.infer(asked.shown, on_reasoning=hear)
            except PolicyAwayError as error:
                raise self._away(str(error)) from error
            except PolicyServerError as error:
                self.source.fail(asked.question, str(error))
                self._on_change()
                return
            self.source.answer(asked, chunk)
            self._on_change()

    def _away(self, reason: str) -> PolicyAwayError:
        """With how its process ended, where it has one that did."""
        if self._process is not None and self._process.ended_within(_DYING_SECONDS):
            return PolicyAwayError(f"the policy is gone: {self._process.last_words()}")
        return PolicyAwayError(reason)
