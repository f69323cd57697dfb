"""Whole demonstrations: what a scripted expert does in one episode, played without images, to be rendered afterwards.

Physics takes a fiftieth of the time of the images, and the same commands from the same start give the same states:
so a demonstration is played blind first, and only what will be kept is played again with cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import tasks
from dexvla.robots.aloha_sim.driver import AlohaSim
from dexvla.robots.aloha_sim.experts import Hand, ScriptedExpert
from dexvla.robots.aloha_sim.hands import Hands, Steps, together
from dexvla.robots.aloha_sim.ik import SIDES
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovering_expert import RecoveringExpert
from dexvla.robots.aloha_sim.recovery import Moment
from dexvla.spec import RecoveryOptions

LONGEST = 2  # times the task's own limit: a demonstration with mishaps is longer
_WIDE_STEPS, _WIDE_SETTLE = 60, 25
_TRIES = 20
# Where hands of wide starts are: low and high of x (of the right one; the left is mirrored), y, z, metres, pitch, roll
# and yaw, radians, and the gripper.
_WIDE = np.array([[0.06, 0.38, 0.13, 0.3, -0.3, -0.3, 0.0], [0.28, 0.62, 0.34, 1.25, 0.3, 0.3, 1.0]])


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """before: commands (14,) that are executed before the episode begins, for a wide start; moments: its steps.

    mishaps: those that happened. success: of the task, within the time that a demonstration may take.
    """

    before: tuple[NDArray[np.float32], ...]
    moments: tuple[Moment, ...]
    mishaps: tuple[str, ...]
    success: bool


def demonstrate(robot: AlohaSim, seed: int, recovery: RecoveryOptions | None) -> Demonstration:
    """Reset `robot` to `seed` and play its task. recovery: None for the open-loop expert, which nothing befalls."""
    robot.reset(seed, images=False)
    if recovery is None:
        steps = ScriptedExpert(robot.task, seed).plan(robot)
        for step in steps:
            robot.act(step.action)
        moments = tuple(
            Moment(action=step.action, sent=step.action, substep=step.substep, source=StepSource.SCRIPTED)
            for step in steps
        )
        return Demonstration(before=(), moments=moments, mishaps=(), success=robot.outcome().success)
    return _recovering(robot, seed, recovery)


def _recovering(robot: AlohaSim, seed: int, options: RecoveryOptions) -> Demonstration:
    random = np.random.default_rng([seed, 0xA10C])
    before = _wide_start(robot, random) if random.random() < options.wide_start else ()
    expert = RecoveringExpert(robot.task, seed, options)
    moments: list[Moment] = []
    done = False
    try:
        expert.begin(robot)
        while len(moments) < LONGEST * tasks.max_steps(robot.task):
            moment = expert.step()
            if moment is None:
                done = True
                break
            apply(robot, moment)
            moments.append(moment)
    except RobotError:  # something lies where no arm reaches it
        pass
    return Demonstration(
        before=before,
        moments=tuple(moments),
        mishaps=expert.happened,
        success=done and robot.outcome().success,
    )


def apply(robot: AlohaSim, moment: Moment) -> NDArray[np.float32]:
    """Let happen what happens in a step; returns what was sent after limits, (14,)."""
    if moment.shove is not None:
        robot.shove(moment.shove.body, moment.shove.offset)
    return robot.act(moment.sent)


def prepare(robot: AlohaSim, seed: int, before: Sequence[NDArray[np.float32]]) -> None:
    """The state in which a demonstration's first step is taken."""
    robot.reset(seed, images=False)
    for command in before:
        robot.act(command)


def _wide_start(robot: AlohaSim, random: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
    """Bring the hands somewhere above the table. Returns the commands that did it."""
    arms = SIDES[1:] if robot.task is AlohaTask.PICK_COLOUR else SIDES
    hands = Hands(robot, ())
    for _ in range(_TRIES):
        try:
            script: Steps = together(*(hands.move(side, _anywhere(side, random), steps=_WIDE_STEPS) for side in arms))
            next(script)
            commands = [hands.action(), *(hands.action() for _ in script)]  # the whole way, before the first of it
        except RobotError:
            continue
        break
    else:
        return ()
    for command in commands:
        robot.act(command)
    for _ in range(_WIDE_SETTLE):
        commands.append(commands[-1])
        robot.act(commands[-1])
    return tuple(commands)


def _anywhere(side: str, random: np.random.Generator) -> Hand:
    x, y, z, pitch, roll, yaw, gripper = random.uniform(*_WIDE)
    x = -x if side == "left" else x
    return Hand(np.array([x, y, z]), pitch, roll, gripper, yaw)
