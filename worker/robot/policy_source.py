"""A policy in the control loop: gives the rollout's actions while a page watches, hands fresh frames to who asks it.

Where the rollout waits (a simulated robot's), the robot's time stands still until the policy has answered.

Two threads meet here under one lock that nobody holds for longer than a few array operations: the control loop
(`action`), and the one that talks to the policy (`next_request`, `answer`).
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dexvla.act.base import ActionChunk, PolicyInput
from dexvla.act.rollout import Reasoning, Request, Rollout
from dexvla.live.messages import HOLD_MS, RECLUTCH_MS, PolicyOut
from worker.robot.arbiter import Arbiter
from worker.robot.heartbeat import Heartbeat
from worker.robot.sources import WAIT, Action, SourceKind, Tick, Wait
from worker.robot.telemetry import Telemetry

_HOLD_SECONDS, _PAUSE_SECONDS = HOLD_MS / 1000, RECLUTCH_MS / 1000
_SIMULATED_PAUSE_SECONDS = 5.0  # a page on a busy machine is held up for half a second, and here nothing is at risk
_OLD_SECONDS = 0.5  # a policy is not shown older frames
_OLD_WAITING_SECONDS = 0.1  # nor these where time waits for newer ones
_TOLD_SECONDS = 2.0  # for so long it is nothing to speak of that time stands still
BLIND_SECONDS = 30.0  # without frames for so long, the cameras are given up
LOADING = "the policy is being loaded"


@dataclass(frozen=True, kw_only=True)
class PolicyRequest:
    """A request, what the policy is shown, and when that was measured (time.monotonic())."""

    request: Request
    shown: PolicyInput
    time: float


class PolicySource:
    """Until `begin` it only waits. control_hz: control rate, Hz. shown: what the live state says of the policy."""

    kind = SourceKind.POLICY

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        heartbeat: Heartbeat,
        arbiter: Arbiter,
        control_hz: float,
        shown: Callable[[], PolicyOut],
    ) -> None:
        self.shown = shown
        self._telemetry, self._heartbeat, self._arbiter, self._control_hz = telemetry, heartbeat, arbiter, control_hz
        self._turn = threading.Condition()
        self._rollout: Rollout | None = None
        self._cameras: tuple[str, ...] = ()
        self._tick: Tick | None = None  # the newest that the policy may be asked about
        self._next_step = 0
        self._since: float | None = None  # it commands since
        self._flushed = False
        self._still: float | None = None  # time stands still since
        self._why: str | None = LOADING

    # --- for the control loop -------------------------------------------------------------------------------------

    @property
    def cameras(self) -> frozenset[str]:
        return frozenset(self._cameras)

    @property
    def why(self) -> str | None:
        return self._why

    def action(self, tick: Tick) -> Action | Wait | None:
        with self._turn:
            action, pause = self._decide(tick)
        if pause is not None:
            self._arbiter.pause(pause, source=self)
        return action

    def on_stop(self) -> None:
        with self._turn:
            self._forget()
            self._since = None

    def on_refused(self, reason: str) -> None:
        self._why = f"the policy's action was refused: {reason}"

    def _decide(self, tick: Tick) -> tuple[Action | Wait | None, str | None]:
        """An action or WAIT, and why to pause."""
        rollout = self._rollout
        if rollout is None:
            self._why = LOADING
            return None, None
        if self._since is None:
            self._since = tick.time
        silence = self._heartbeat.silence(tick.time)
        if silence > _HOLD_SECONDS:
            # What was planned belongs to steps in which the robot will not have moved.
            if not self._flushed:
                self._forget()
            self._flushed = True
            self._why = "the page that watches over the policy is not heard"
            held_up = rollout.waits and math.isfinite(silence)  # its connection is there still
            patience = _SIMULATED_PAUSE_SECONDS if held_up else _PAUSE_SECONDS
            pause = min(silence, tick.time - self._since) > patience
            return None, f"{self._why}; an operator has to resume it" if pause else None
        self._flushed = False
        still = rollout.stands_still(tick.step)
        self._next_step = tick.step + (not still)
        self._tick = tick
        if rollout.wants(tick.step):
            self._turn.notify()
        if still:
            return self._stand_still(rollout, tick)
        self._still = None
        action = rollout.action(tick.step)
        self._why = None if action is not None else rollout.why(tick.step)
        return action, f"the policy's answers cannot be used: {rollout.refused}" if rollout.broken else None

    def _stand_still(self, rollout: Rollout, tick: Tick) -> tuple[Wait | None, str | None]:
        self._still = tick.time if self._still is None else self._still
        waited = tick.time - self._still
        self._why = None if waited < _TOLD_SECONDS else rollout.why_still(waited)
        if rollout.pending or waited < BLIND_SECONDS:
            return WAIT, None
        return None, f"there were no new frames for {BLIND_SECONDS:.0f} s to show the policy"

    def _forget(self) -> None:
        if self._rollout is not None:
            self._rollout.flush()
        self._tick = self._still = None

    # --- for who talks to the policy ------------------------------------------------------------------------------

    def begin(self, rollout: Rollout, cameras: tuple[str, ...]) -> None:
        """From here on it acts. cameras: in the policy's order."""
        with self._turn:
            self._rollout, self._cameras = rollout, cameras

    def end(self) -> None:
        """It only waits again."""
        with self._turn:
            self._forget()
            self._rollout, self._since = None, None
            self._turn.notify_all()

    def next_request(self, seconds: float) -> PolicyRequest | None:
        """Wait until the policy should be asked; None if it should not within `seconds`."""
        deadline = time.monotonic() + seconds
        with self._turn:
            while True:
                due = self._next()
                left = deadline - time.monotonic()
                if due is not None or left <= 0:
                    return due
                self._turn.wait(left)

    def on_token(self, request: Request, text: str) -> None:
        with self._turn:
            if self._rollout is not None:
                self._rollout.on_token(request, text)

    def answer(self, sent: PolicyRequest, chunk: ActionChunk) -> None:
        with self._turn:
            if self._rollout is not None:
                latency = time.monotonic() - sent.time
                self._rollout.answer(sent.request, chunk, step=self._next_step, latency_s=latency)

    def fail(self, request: Request, reason: str) -> None:
        with self._turn:
            if self._rollout is not None:
                self._rollout.fail(request, reason)

    def instruct(self, instruction: str) -> None:
        with self._turn:
            if self._rollout is not None:
                self._rollout.instruct(instruction)

    @property
    def rollout(self) -> Rollout | None:
        """To read single values of."""
        return self._rollout

    @property
    def reasoning(self) -> Reasoning | None:
        return None if self._rollout is None else self._rollout.reasoning

    def _next(self) -> PolicyRequest | None:
        tick, rollout = self._tick, self._rollout
        if tick is None or rollout is None or not rollout.wants(tick.step):
            return None
        self._tick = None  # each step is asked about once
        frames = tick.observation.frames
        if any(name not in frames for name in self._cameras):
            return None
        age = tick.observation.time - min(frames[name].time for name in self._cameras)
        if age > self._oldest(rollout):
            return None
        frames_step = tick.step - max(0, round(age * self._control_hz))
        row = self._telemetry.at(frames_step)
        shown = PolicyInput(
            images={name: frames[name].image for name in self._cameras},
            state=np.asarray(tick.observation.qpos if row is None else row.state),
            instruction=rollout.instruction,
        )
        request = rollout.ask(step=tick.step, frames_step=frames_step)
        return PolicyRequest(request=request, shown=shown, time=tick.time - max(0.0, age))

    def _oldest(self, rollout: Rollout) -> float:
        """Most that frames may lie back, seconds of the robot's time: where it waits, little beside a chunk."""
        if not rollout.waits:
            return _OLD_SECONDS
        return min(_OLD_WAITING_SECONDS, rollout.chunk_size / 4 / self._control_hz)
