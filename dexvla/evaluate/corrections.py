"""A policy acts in the simulator, and an expert takes over when it strays: DAgger's data (arXiv 1011.0686, 1810.02890).

The policy's own steps are recorded as the policy's, the expert's as scripted, as a person's take-over is recorded as
human: what the policy did before it was corrected is then left out of training (dexvla.episodes.learnable).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.act.base import Policy, PolicyInput
from dexvla.act.chunks import ChunkExecutor, StampedChunk
from dexvla.act.rollout import DEFAULT_EXECUTE_STEPS
from dexvla.episodes.format import EpisodeData, StepSource
from dexvla.errors import RobotError
from dexvla.evaluate.closed_loop import check_fit
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.demonstrations import LONGEST, apply
from dexvla.robots.aloha_sim.recovering_expert import RecoveringExpert
from dexvla.robots.aloha_sim.recovery import Mishaps, Moment
from dexvla.robots.base import TaskOutcome
from dexvla.robots.record import Taking, first_number, write_numbered
from dexvla.spec import RecoveryOptions

GRIPPERS = (6, 13)
_EMPTY_STEPS = 15  # closed on nothing for so long
_OPENED, _SHUT = 0.5, 0.08  # of a gripper's scale, as measured; around a peg it is 0.35
# Made once a take-over, for a robot as it is then; asked for the label of each of the expert's steps before it is done.
Labeller = Callable[[AlohaSim], Callable[[Moment], str]]


def plain_labels(robot: AlohaSim) -> Callable[[Moment], str]:
    """The expert's own substeps."""
    return lambda moment: moment.substep


@dataclass
class StrayDetector:
    """Whether a policy has gone astray: it holds nothing in a closed gripper, lost what it had, or gets nowhere.

    patience: steps without a reward higher than before. A gripper counts as closed on nothing once it has been open:
    arms start with closed ones.
    """

    patience: int
    _opened: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(GRIPPERS), bool))
    _empty: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(GRIPPERS), np.int64))
    _best: float = 0.0
    _since_best: int = 0
    _lost: int = 0

    def strayed(self, qpos: NDArray[np.float32], outcome: TaskOutcome) -> str | None:
        """Return why somebody should take over before this step, or None. qpos: (14,) as measured."""
        grippers = qpos[list(GRIPPERS)]
        self._opened |= grippers > _OPENED
        self._empty = np.where(self._opened & (grippers < _SHUT), self._empty + 1, 0)
        self._since_best = 0 if outcome.reward > self._best else self._since_best + 1
        self._best = max(self._best, outcome.reward)
        self._lost = self._lost + 1 if outcome.reward == 0 < self._best else 0
        if self._empty.max() >= _EMPTY_STEPS:
            return "a gripper is closed on nothing"
        if self._lost >= _EMPTY_STEPS:
            return "an object was lost"
        if self._since_best >= self.patience:
            return "no progress"
        return None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One episode. why: of the take-over, None if the policy was not corrected; data: None if there is none to keep."""

    seed: int
    success: bool
    why: str | None
    data: EpisodeData | None


def correct(
    policy: Policy,
    robot: AlohaSim,
    seed: int,
    *,
    execute_steps: int | None = None,
    patience_s: float = 3.0,
    options: RecoveryOptions | None = None,
    jpeg_quality: int = 90,
    labeller: Labeller = plain_labels,
) -> Correction:
    """Let the policy act from `seed` on, and the scripted expert end what it cannot.

    An episode that needed no correction, or that the expert could not save, has no data. options: tempo and noise of
    the expert; mishaps befall nobody. labeller: of the expert's steps. Raises RobotError if robot and policy do not
    fit.
    """
    check_fit(policy, robot)
    meta, detector = policy.metadata, StrayDetector(patience=round(patience_s * robot.info.control_hz))
    robot.reset(seed, images=False)
    policy.reset(seed)
    steps = execute_steps or min(DEFAULT_EXECUTE_STEPS, meta.chunk_size)
    executor = ChunkExecutor(chunk_size=meta.chunk_size, action_dim=meta.action_dim, execute_steps=steps)
    taking, reasoning = Taking(robot, jpeg_quality=jpeg_quality), ""
    why: str | None = None
    while taking.steps < robot.max_steps:
        seen, outcome = taking.see(), robot.outcome()
        why = "another object was taken" if outcome.wrong else detector.strayed(seen.qpos, outcome)
        if why is not None or (outcome.success and outcome.held):
            break
        if executor.wants_chunk(taking.steps):
            images = {name: seen.frames[name].image for name in meta.camera_names}
            shown = PolicyInput(images=images, state=seen.qpos, instruction=robot.instruction)
            chunk = policy.infer(shown)
            executor.add(
                StampedChunk(actions=chunk.actions, step=taking.steps, epoch=executor.epoch), step=taking.steps
            )
            reasoning = chunk.reasoning
        planned = executor.action(taking.steps)
        assert planned is not None, "a chunk was added for this very step"
        taking.did(planned.action, robot.act(planned.action), reasoning, StepSource.POLICY)
    outcome = robot.outcome()
    if why is None or outcome.wrong:  # another cube that was lifted is a failure for good, which nothing makes good
        return Correction(seed=seed, success=outcome.success, why=why, data=None)
    if not _take_over(robot, seed, taking, options or RecoveryOptions(), labeller):
        return Correction(seed=seed, success=False, why=why, data=None)
    data = taking.episode(seed=seed, success=True, with_sources=True, extra={"correction": why})
    return Correction(seed=seed, success=True, why=why, data=data)


def _take_over(robot: AlohaSim, seed: int, taking: Taking, options: RecoveryOptions, labeller: Labeller) -> bool:
    """The expert's steps, from a state that has been seen already; whether it did the task."""
    expert = RecoveringExpert(robot.task, seed, options, mishaps=Mishaps())
    limit = taking.steps + LONGEST * robot.max_steps
    first = True
    label = labeller(robot)
    try:
        expert.begin(robot)
        while (moment := expert.step()) is not None and taking.steps < limit:
            if not first:
                taking.see()
            first = False
            text = label(moment)
            taking.did(moment.action, apply(robot, moment), text, StepSource.SCRIPTED)
    except RobotError:  # something lies where no arm reaches it
        return False
    return robot.outcome().success and not first


def collect_corrections(
    policy: Policy,
    robot: AlohaSim,
    seeds: range,
    out: Path,
    *,
    execute_steps: int | None = None,
    labeller: Labeller = plain_labels,
    on_episode: Callable[[Correction], None] = lambda correction: None,
) -> int:
    """Corrections of `seeds` on a connected robot as episode files in `out`; returns how many there are."""
    number, kept = first_number(out), 0
    for seed in seeds:
        found = correct(policy, robot, seed, execute_steps=execute_steps, labeller=labeller)
        if found.data is not None:
            number = write_numbered(out, number, found.data) + 1
            kept += 1
        on_episode(found)
    return kept
