"""A policy that acts step by step: when to ask it, what to take of its answers, what to do while it is late.

A real robot's steps go on while the policy thinks. A simulated one's can wait (`waits`): then no step elapses that the
policy has not answered for. Pure logic: no clock, no I/O, no thread; the caller counts control steps and measures
seconds. A request belongs to the step at which its frames were taken.

T: actions in a chunk; A: entries of an action.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dexvla.act.base import ActionChunk, PolicyMetadata
from dexvla.act.chunks import ChunkExecutor, ChunkRefused, StampedChunk
from dexvla.robots.base import RobotInfo
from dexvla.spec import CameraSpec

DEFAULT_EXECUTE_STEPS = 16  # the reference executes 16 of 50 actions before it asks again
_SPARE_STEPS = 2  # asked so much sooner than the last latency calls for
AHEAD_STEPS = 6  # that a robot which waits goes on with while it asks: a quick policy's motion does not stutter
_PATIENCE = 5  # answers in a row that were refused before the rollout counts as broken


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the policy is asked. step: at which the frames were taken. sent_at: the step at which it was asked.

    epoch: the executor's.
    """

    step: int
    sent_at: int
    epoch: int
    instruction: str


@dataclass(frozen=True, kw_only=True)
class Reasoning:
    """A reasoning and the step that it belongs to. done: false while it is still being written."""

    step: int
    text: str
    done: bool


class Rollout:
    """One policy that acts on one instruction. Use it under one lock if several threads do.

    control_hz: control rate, Hz. execute_steps: actions of a chunk that are executed before the next one is asked for;
    asked sooner where the last latency would leave the robot without an action.

    waits: the robot's time can stand still, as a simulator's can. The next chunk is then asked for up to `AHEAD_STEPS`
    before `execute_steps` are over, and `stands_still` says which steps must not be taken before it has come: no action
    is played later in its chunk than it would be if the policy took no time, plus the age of its frames.
    """

    def __init__(
        self,
        metadata: PolicyMetadata,
        *,
        instruction: str,
        control_hz: float,
        execute_steps: int | None = None,
        waits: bool = False,
    ) -> None:
        steps = execute_steps or min(DEFAULT_EXECUTE_STEPS, metadata.chunk_size)
        self._ahead = min(AHEAD_STEPS, steps // 2) if waits else 0
        executor = partial(ChunkExecutor, chunk_size=metadata.chunk_size, action_dim=metadata.action_dim)
        self._executor = executor(execute_steps=steps)  # refuses a number that does not fit the chunk
        if self._ahead:
            self._executor = executor(execute_steps=steps - self._ahead)
        self.waits, self.chunk_size = waits, metadata.chunk_size
        self._due: int | None = None  # the step since which a chunk is due; only where it waits
        self._control_hz = control_hz
        self._instruction = instruction
        self._open: Request | None = None
        self._urgent = False
        self._answered = False  # in this epoch
        self._refusals = 0
        self.late_steps = 0
        self.chunks = 0
        self.latency_s: float | None = None
        self.refused: str | None = None
        self.reasoning: Reasoning | None = None
        self.newest: StampedChunk | None = None  # the last chunk that was taken

    @property
    def instruction(self) -> str:
        return self._instruction

    @property
    def pending(self) -> bool:
        """The policy has a request that it has not answered."""
        return self._open is not None

    @property
    def broken(self) -> bool:
        """So many answers in a row were refused that there is no use in asking again."""
        return self._refusals >= _PATIENCE

    def instruct(self, instruction: str) -> None:
        """Act on this from the next chunk on, which is asked for at once; an answer to the old one is dropped."""
        if instruction != self._instruction:
            self._instruction = instruction
            self._urgent = True

    def flush(self) -> None:
        """Forget all chunks and requests: the robot was stopped, paused or moved by somebody else."""
        self._executor.flush()
        self._open = None
        self._due = None
        self._answered = False
        self._refusals = 0

    def wants(self, step: int) -> bool:
        """True when the policy should be asked now, at `step`."""
        if self._open is not None or self.broken:
            return False
        return (
            self._urgent
            or self._executor.wants_chunk(step)
            or (not self.waits and self._executor.remaining(step) <= self._latency_steps + _SPARE_STEPS)
        )

    def stands_still(self, step: int) -> bool:
        """True while `step` must not be taken, because the chunk that is due has not come. Never where the robot does
        not wait. Call it at every step, before `action`."""
        if not self.waits or self.broken:
            return False
        if self._due is None:
            if self._open is None and not self.wants(step):
                return False
            self._due = step
        return step - self._due >= self._ahead or self._executor.remaining(step) == 0

    def ask(self, *, step: int, frames_step: int) -> Request:
        """Note that it is asked now."""
        self._urgent = False
        self._open = Request(step=frames_step, sent_at=step, epoch=self._executor.epoch, instruction=self._instruction)
        return self._open

    def on_token(self, request: Request, text: str) -> None:
        """The reasoning so far of an answer that is being written."""
        if self._concerns(request):
            self.reasoning = Reasoning(step=request.step, text=text, done=False)

    def answer(self, request: Request, chunk: ActionChunk, *, step: int, latency_s: float) -> bool:
        """Take a chunk at `step`, the next one to be executed; False if it was refused (`refused` says why) or
        answers what nobody asks any more. latency_s: from taking the observation to having the chunk, seconds."""
        if not self._concerns(request):
            return False
        self._open = None
        if request.instruction != self._instruction:
            return False
        stamped = StampedChunk(actions=chunk.actions, step=request.step, epoch=request.epoch)
        try:
            self._executor.add(stamped, step=step)
        except ChunkRefused as error:
            self._refuse(str(error))
            return False
        self._due = None
        self.latency_s = latency_s
        self.newest = stamped
        self.reasoning = Reasoning(step=request.step, text=chunk.reasoning, done=True)
        self.refused, self._refusals = None, 0
        self._answered = True
        self.chunks += 1
        return True

    def fail(self, request: Request, reason: str) -> None:
        """No chunk came of it, or none that could be used."""
        if self._concerns(request):
            self._open = None
            self._refuse(reason)

    def action(self, step: int) -> NDArray[np.float32] | None:
        """(A,) of `step`, or None: decelerate and hold. Steps only go forward."""
        planned = self._executor.action(step)
        if planned is not None:
            return planned.action
        self.late_steps += self._answered
        return None

    def why(self, step: int) -> str | None:
        """Why there is no action at `step`, for people."""
        if self.refused is not None:
            return f"the policy's answer was refused: {self.refused}"
        if self._open is None:
            return "waiting for frames to show the policy"
        waited = (step - self._open.sent_at) / self._control_hz
        return f"the policy is late: no answer for {waited:.1f} s" if self._answered else "the policy is thinking"

    def why_still(self, seconds: float) -> str:
        """Why the robot's time has stood still for `seconds`, for people."""
        if self.refused is not None:
            return f"the policy's answer was refused: {self.refused}"
        what = "the policy" if self._open is not None else "new frames"
        return f"the simulation waits for {what}, for {seconds:.0f} s now"

    @property
    def _latency_steps(self) -> int:
        return 0 if self.latency_s is None else math.ceil(self.latency_s * self._control_hz)

    def _concerns(self, request: Request) -> bool:
        return self._open is request

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        self._refusals += 1


def cameras_for(metadata: PolicyMetadata, others: Sequence[CameraSpec]) -> tuple[CameraSpec, ...]:
    """The policy's cameras in the size of its training images, then those of `others` that are not among them."""
    own = metadata.recorded_cameras or metadata.cameras
    names = {camera.name for camera in own}
    return (*own, *(camera for camera in others if camera.name not in names))


def misfits(metadata: PolicyMetadata, info: RobotInfo, *, render_profile: str | None = None) -> list[str]:
    """Why the policy must not act on this robot, in words for people; empty if it may.

    render_profile: of a simulated robot's images.
    """
    reasons = []
    if metadata.robot is not None and metadata.robot != info.name:
        reasons.append(f"it was trained on the robot {metadata.robot}, this is {info.name}")
    for what, has, wants in (
        ("action values", len(info.action_names), metadata.action_dim),
        ("state values", len(info.joint_names), metadata.state_dim),
    ):
        if has != wants:
            reasons.append(f"it has {wants} {what}, the robot {has}")
    if metadata.fps is not None and not math.isclose(metadata.fps, info.control_hz, rel_tol=0.01):
        reasons.append(f"it was trained at {metadata.fps:g} Hz, the robot runs at {info.control_hz:g}")
    reasons += _camera_misfits(metadata, info)
    if render_profile is not None and metadata.render_profile not in (None, render_profile):
        reasons.append(
            f"its training images were rendered with the profile {metadata.render_profile}, these are {render_profile}"
        )
    return reasons


def _camera_misfits(metadata: PolicyMetadata, info: RobotInfo) -> list[str]:
    here = {camera.name: camera for camera in info.cameras}
    missing = [name for name in metadata.camera_names if name not in here]
    reasons = []
    if missing:
        reasons.append(f"the robot has no camera {', '.join(missing)} (it has {', '.join(here) or 'none'})")
    for camera in metadata.recorded_cameras:
        found = here.get(camera.name)
        if found is not None and (found.height, found.width) != (camera.height, camera.width):
            reasons.append(
                f"{camera.name} was {camera.height}x{camera.width} in training, "
                f"the robot's is {found.height}x{found.width}"
            )
    return reasons
