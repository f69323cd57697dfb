"""One rollout from the request to its end, in a thread of its own: sets up the scene, loads the policy, asks it."""

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from dexvla.act.base import PolicyMetadata
from dexvla.act.client import PolicyAwayError, PolicyServerError, RemotePolicy
from dexvla.act.rollout import Request, Rollout, misfits
from dexvla.errors import RobotError, UserError
from dexvla.live.messages import Failure, PolicyOut, Progress, Reasoning, RolloutIn
from dexvla.spec import PolicySpec
from worker.robot.arbiter import Arbiter
from worker.robot.control import ControlLoop
from worker.robot.heartbeat import Heartbeat
from worker.robot.policy_process import STARTING, PolicyProcess, PolicyProcessError, PolicyProcesses
from worker.robot.policy_source import PolicySource
from worker.robot.stage import Stage

log = logging.getLogger("studio.robot")

ANSWER_SECONDS = 10.0  # without an answer for so long, a policy hangs
_WAITING_ANSWER_SECONDS = 30.0  # where the robot waits for it, without harm
_CONNECT_SECONDS = 5.0
_READY_SECONDS = 60.0  # a server elsewhere that is still loading
_LOOK_SECONDS = 0.25
_DYING_SECONDS = 0.5  # between a closed connection and the end of the process that closed it
_LEAVING_SECONDS = 5.0  # for a policy to leave whose place another one takes
_TYPICAL_SECONDS = {"scene": 3.0, "process": 6.0, "first": 1.0}  # of the parts of loading, on two cores


def _needs(checkpoint: Path) -> PolicyMetadata | None:
    """What a checkpoint expects of the robot, before its process is there to say so; None where it cannot be read,
    which that process will say."""
    try:
        config = json.loads((checkpoint / "config.json").read_bytes())
        return PolicyMetadata.of(PolicySpec.model_validate(config.get("policy")), checkpoint=checkpoint.name)
    except (OSError, ValueError, AttributeError, ValidationError):
        return None


def _may_pass(error: UserError) -> bool:
    """Another try may do: a process died or was slow, a camera gave nothing. Not where something does not fit."""
    if isinstance(error, PolicyProcessError):
        return error.again
    return isinstance(error, PolicyAwayError | RobotError)


class Acting(threading.Thread):
    """One rollout, from the request to its end."""

    def __init__(
        self,
        request: RolloutIn,
        *,
        checkpoint: Path | None,
        loop: ControlLoop,
        arbiter: Arbiter,
        heartbeat: Heartbeat,
        stage: Stage | None,
        processes: PolicyProcesses,
        before: "Acting | None",
        on_change: Callable[[], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        super().__init__(name="rollout", daemon=True)
        self._request, self.checkpoint, self._instruction = request, checkpoint, request.instruction
        self._loop, self._arbiter, self._stage = loop, arbiter, stage
        self._processes, self._before = processes, before
        self._on_change, self._on_failure = on_change, on_failure
        self._process: PolicyProcess | None = None
        self._metadata: PolicyMetadata | None = None
        self._scene = request.scene  # until it is set up
        self._begun = time.monotonic()  # this try
        self._attempt = 1
        self._trouble: str | None = None  # why the first attempt failed
        self._ended = threading.Event()
        self.resumed = threading.Event()
        self.source = PolicySource(
            telemetry=loop.telemetry,
            heartbeat=heartbeat,
            arbiter=arbiter,
            control_hz=loop.info.control_hz,
            shown=self.state,
        )

    def instruct(self, instruction: str) -> None:
        self._instruction = instruction
        self.source.instruct(instruction)

    def end(self) -> None:
        """Begin to end; waits for nothing."""
        self._ended.set()
        self.resumed.set()

    def state(self) -> PolicyOut:
        rollout, reasoning, metadata = self.source.rollout, self.source.reasoning, self._metadata
        name = metadata.checkpoint if metadata is not None else str(self._request.url or self.checkpoint)
        return PolicyOut(
            name="demo" if self._request.demo else name,
            checkpoint_id=self._request.checkpoint_id,
            instruction=self._instruction,
            reasoning=None
            if reasoning is None
            else Reasoning(step=reasoning.step, text=reasoning.text, done=reasoning.done),
            latency_ms=None if rollout is None or rollout.latency_s is None else round(1000 * rollout.latency_s, 1),
            chunks=0 if rollout is None else rollout.chunks,
            late_steps=0 if rollout is None else rollout.late_steps,
            refused=None if rollout is None else rollout.refused,
            ready=rollout is not None,
            loading=self._loading(rollout),
        )

    def _loading(self, rollout: Rollout | None) -> Progress | None:
        process, stage = self._process, self._stage
        if (rollout is not None and rollout.chunks > 0) or self._arbiter.now.source is not self.source:
            return None
        if rollout is not None:
            phase = "First chunk" if rollout.pending else "First frames"
        elif stage is not None and stage.building is not None:
            phase = stage.building.phase
        else:
            unborn = "Connecting to the policy server" if self.checkpoint is None else STARTING
            phase = unborn if process is None else process.phase
        parts = ["first", *["scene"] * (self._request.scene is not None), *["process"] * (self.checkpoint is not None)]
        return Progress(
            phase=phase,
            seconds=round(time.monotonic() - self._begun, 1),
            typical=sum(_TYPICAL_SECONDS[part] for part in parts),
            attempt=self._attempt,
            trouble=self._trouble,
        )

    def run(self) -> None:
        try:
            before, self._before = self._before, None
            if before is not None and before.checkpoint == self.checkpoint is not None:
                before.join(_LEAVING_SECONDS)  # its process is the one that is needed
            while not self._ended.is_set():
                try:
                    self._act()
                except UserError as error:
                    self._give_up(error)
        except Exception as error:
            log.exception("the rollout failed")
            self._arbiter.end_policy(f"the rollout failed ({error or type(error).__name__})", source=self.source)
        finally:
            self.source.end()
            if self._process is not None:
                self._processes.give_back(self._process)
            self._on_change()

    def _give_up(self, error: UserError) -> None:
        """Before it acted: try once more by itself, then end. Later: pause, and try again once somebody resumes it."""
        if self._ended.is_set():
            return
        reason = str(error)
        log.warning("the policy, attempt %d: %s", self._attempt, reason)
        rollout = self.source.rollout
        acted = rollout is not None and rollout.chunks > 0
        self.source.end()
        if self._process is not None:
            self._process.end()  # it may hang; the next attempt gets a new one
            self._process = None
        if not acted and self._attempt == 1 and _may_pass(error):
            self._attempt, self._trouble = 2, reason
            self._on_change()
            return
        if self._attempt > 1:
            reason = f"{reason} (it was tried twice)"
        if self._metadata is None:
            self._on_failure(Failure(demo=self._request.demo, reason=reason))
            self._arbiter.end_policy(reason, source=self.source)
            self._ended.set()
            return
        self.resumed.clear()
        self._arbiter.pause(reason, source=self.source)
        self._on_change()
        self.resumed.wait()
        self._attempt, self._trouble, self._begun = 1, None, time.monotonic()

    def _act(self) -> None:
        """Connect and answer requests until the end, or until the policy is away (PolicyAwayError)."""
        rollout: Rollout | None = None
        if self.checkpoint is not None and (self._process is None or not self._process.alive):
            self._process = self._processes.take(self.checkpoint)  # it loads while the scene is built
        if self._scene is not None and self._stage is not None:
            needs = None if self.checkpoint is None else _needs(self.checkpoint)
            self._stage.set_up(self._scene, needs, source=self.source)
            shown = self._stage.scene()
            self._scene, self._instruction = None, self._instruction if shown is None else shown.instruction
            self._on_change()
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
        if self.checkpoint is None:
            assert self._request.url is not None
            return RemotePolicy(
                self._request.url,
                connect_timeout=_CONNECT_SECONDS,
                ready_timeout=_READY_SECONDS,
                infer_timeout=self._answer_seconds,
            )
        assert self._process is not None
        address = self._process.address(self._ended)
        if address is None:
            raise UserError("ended before the policy was loaded")
        return RemotePolicy(
            address, api_key=self._process.key, connect_timeout=_CONNECT_SECONDS, infer_timeout=self._answer_seconds
        )

    @property
    def _answer_seconds(self) -> float:
        return _WAITING_ANSWER_SECONDS if self._loop.info.simulated else ANSWER_SECONDS

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
            execute_steps=self._request.execute_steps,
            waits=self._loop.info.simulated,
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
            due = self.source.next_request(_LOOK_SECONDS)
            if due is None:
                continue

            def on_token(text: str, request: Request = due.request) -> None:
                self.source.on_token(request, text)
                self._on_change()

            try:
                chunk = policy.infer(due.shown, on_reasoning=on_token)
            except PolicyAwayError as error:
                raise self._away(str(error)) from error
            except PolicyServerError as error:
                self.source.fail(due.request, str(error))
                self._on_change()
                return
            self.source.answer(due, chunk)
            self._on_change()

    def _away(self, reason: str) -> PolicyAwayError:
        """With how its process ended, where it has one that did."""
        if self._process is not None and self._process.ended_within(_DYING_SECONDS):
            return PolicyAwayError(f"the policy is gone: {self._process.last_words()}")
        return PolicyAwayError(reason)
