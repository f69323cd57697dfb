"""Both hands as a closed-loop expert moves them, and what it sees: where things lie, what a gripper holds.

An expert is written as generators that move an arm by one control step each time they are asked; what is yielded
means nothing. Between two steps the robot acts, so whatever is looked at is of the present.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import tasks
from dexvla.robots.aloha_sim.experts import MISS_LIMIT, OPEN, AlohaScene, Hand, minimum_jerk
from dexvla.robots.aloha_sim.ik import SIDES, BimanualIK, forearm_unrolled, pose_of
from dexvla.robots.aloha_sim.scene import CONTROL_HZ, normalise_gripper

Steps = Generator[None, None, None]

_FAR, _TURNED = 0.12, 0.5  # metres and radians: a longer way is straight in joint space
_STEPS, _STEPS_A_METRE, _MOST_STEPS = 12, 180, 75  # of a movement at the tempo 1
_METRES_A_RADIAN = 0.2  # a turn takes as long as a way of this length
_FASTEST = 2.8  # radians a second, of a joint: the ViperX's are made for pi
_GRIP_STEPS = 6
_CLOSED_BELOW = 0.3  # of the gripper's scale, as commanded
_SHUT_BELOW = 0.88  # as measured; around a cube it is 0.6 to 0.82, and fingers that press on the table stay open
# Metres from the pinch point to the centre of what is gripped: a grip that is further off is not a good one, and one
# that gets further off has been lost.
_GRIPPED_WITHIN, _HELD_WITHIN = 0.022, 0.04


@dataclass(frozen=True)
class Thing:
    """An object: its body, the geoms that fingers touch, and the turn, radians, after which it looks the same."""

    body: str
    geoms: tuple[str, ...]
    turn: float


@dataclass(frozen=True)
class Place:
    """Where a thing is: its centre, metres, and its turn about the vertical, radians, the smallest that looks so."""

    position: NDArray[np.float64]
    yaw: float


class Hands:
    """Reference of both arms and grippers, from the robot's present state, and the movements that change it.

    tempo: movements are this many times as fast. near: sides whose hand works on an object, where little noise is
    allowed.
    """

    def __init__(self, robot: AlohaScene, things: Sequence[Thing], *, tempo: float = 1.0) -> None:
        self._robot, self._ik, self.tempo = robot, BimanualIK(robot.model), tempo
        qpos, sent = robot.data.qpos, robot.data.ctrl
        self._joints = np.concatenate([qpos[:6], qpos[8:14]])
        # As commanded: the fingers of a grip stand further apart than they are told to.
        self.grippers = np.clip([normalise_gripper(float(sent[finger])) for finger in (6, 14)], 0.0, 1.0)
        self._goals: list[NDArray[np.float64] | None] = [None, None]  # of arms that move straight in space
        self._touched = tasks.Touching(frozenset())
        self._between = {(side, thing): 0 for side in SIDES for thing in things}  # steps in which it was so
        self.near: set[str] = set()

    # --- what is seen -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Once a step, before it."""
        self._touched = tasks.touching(self._robot.model, self._robot.data)
        for (side, thing), steps in self._between.items():
            limit = _HELD_WITHIN if steps >= _GRIP_STEPS else _GRIPPED_WITHIN
            closed = self.grippers[SIDES.index(side)] < _CLOSED_BELOW and self.opening(side) < _SHUT_BELOW
            self._between[side, thing] = steps + 1 if closed and self.away(side, thing) < limit else 0

    def holds(self, side: str, thing: Thing) -> bool:
        """Whether a closed gripper has it, from when it has been well between the fingers for 0.12 s.

        Touching is no sign: fingers that close around a peg touch it only when they lift it, and contacts come and go.
        It is held no more when the gripper is told to open, or when it is not between the fingers any more.
        """
        steps = self._between.get((side, thing), 0)
        return steps >= _GRIP_STEPS

    def opening(self, side: str) -> float:
        """How far a gripper is open: 0 closed on nothing .. 1."""
        return normalise_gripper(float(self._robot.data.qpos[6 if side == "left" else 14]))

    def touches(self, side: str, thing: Thing) -> bool:
        """Whether a finger touches it now."""
        return any(self._touched.any(thing.geoms, tasks.finger(side, which)) for which in SIDES)

    def away(self, side: str, thing: Thing) -> float:
        """Distance of a thing's centre from where a gripper grips, metres."""
        return float(np.linalg.norm(self.pinch(side)[:3] - self.place(thing).position))

    def rests(self, thing: Thing) -> bool:
        return any(self._touched(geom, "table") for geom in thing.geoms)

    def place(self, thing: Thing) -> Place:
        body = self._robot.data.body(thing.body)
        axes = np.array(body.xmat).reshape(3, 3)
        # A cube may lie on another side: take an axis that lies level.
        axis = axes[:, int(np.argmin(np.abs(axes[2]))) if thing.turn < np.pi else 0]
        yaw = float(np.arctan2(axis[1], axis[0]))
        return Place(np.array(body.xpos), (yaw + thing.turn / 2) % thing.turn - thing.turn / 2)

    def pinch(self, side: str) -> NDArray[np.float64]:
        """(6,) where a gripper is, not where it was sent: as `BimanualIK.solve` takes it."""
        gripper = self._robot.data.body(f"vx300s_{side}/gripper_link")
        return pose_of(side, np.array(gripper.xmat).reshape(3, 3), np.array(gripper.xpos))

    # --- movements ----------------------------------------------------------------------------------------------

    def hand(self, side: str) -> Hand:
        """The reference of one hand."""
        pose = self._ik.hand(side, self._joints)
        return Hand(pose[:3], pose[4], pose[5], float(self.grippers[SIDES.index(side)]), pose[3])

    def steps(self, side: str, goal: Hand) -> int:
        """How long a movement takes."""
        hand = self.hand(side)
        turn = max(abs(goal.pitch - hand.pitch), abs(goal.roll - hand.roll), abs(goal.yaw - hand.yaw))
        way = max(float(np.linalg.norm(goal.position - hand.position)), _METRES_A_RADIAN * turn)
        return max(4, round(min(_STEPS + _STEPS_A_METRE * way, _MOST_STEPS) / self.tempo))

    def move(self, side: str, goal: Hand, *, steps: int | None = None) -> Steps:
        """To `goal`: near ones straight in space, far ones straight in joint space with the forearm unrolled.

        Raises RobotError if the arm does not reach it.
        """
        start = self.hand(side)
        steps = steps or self.steps(side, goal)
        turned = abs(goal.pitch - start.pitch) + abs(goal.roll - start.roll) + abs(goal.yaw - start.yaw)
        far = float(np.linalg.norm(goal.position - start.position)) > _FAR
        if turned > _TURNED or (far and goal.position[2] - start.position[2] < 0.05):
            yield from self._in_joint_space(side, goal, steps)
        else:
            yield from self._in_space(side, start, goal, steps)

    def straight(self, side: str, goal: Hand, *, steps: int | None = None) -> Steps:
        yield from self._in_space(side, self.hand(side), goal, steps or self.steps(side, goal))

    def grip(self, side: str, gripper: float, *, steps: int | None = None) -> Steps:
        """Open or close where the hand is."""
        index = SIDES.index(side)
        start = self.grippers[index]
        for part in minimum_jerk(steps or max(6, round(10 / self.tempo))):
            self.grippers[index] = start + part * (gripper - start)
            yield

    def stay(self, steps: float) -> Steps:
        """So that the arms, which follow with a lag of about 0.1 s, arrive."""
        for _ in range(round(steps)):
            yield

    def _in_space(self, side: str, start: Hand, goal: Hand, steps: int) -> Steps:
        index, opening = SIDES.index(side), self.grippers[SIDES.index(side)]
        try:
            for part in minimum_jerk(steps):
                self._goals[index] = start.pose + part * (goal.pose - start.pose)
                self.grippers[index] = opening + part * (goal.gripper - opening)
                yield
        finally:
            self._goals[index] = None

    def _in_joint_space(self, side: str, goal: Hand, steps: int) -> Steps:
        index, opening = SIDES.index(side), self.grippers[SIDES.index(side)]
        own = slice(6 * index, 6 * index + 6)
        start = self._joints[own].copy()
        guess = forearm_unrolled([goal.pose, goal.pose])
        end = self._solve([goal.pose if i == index else None for i in range(2)], guess)[own]
        # Minimum jerk's highest speed is 15/8 of the mean one.
        fastest = 15 / 8 * float(np.abs(end - start).max()) * CONTROL_HZ
        for part in minimum_jerk(max(steps, math.ceil(fastest / _FASTEST))):
            self._joints[own] = start + part * (end - start)
            self.grippers[index] = opening + part * (goal.gripper - opening)
            yield

    def action(self) -> NDArray[np.float32]:
        """(14,) the reference after the movements of this step."""
        if any(goal is not None for goal in self._goals):
            # Near a stretched wrist a short way in space is a long one for the joints: then the hand comes later.
            most = _FASTEST / CONTROL_HZ
            wanted = self._solve(self._goals, self._joints)
            self._joints = self._joints + np.clip(wanted - self._joints, -most, most)
        joints, grippers = self._joints, self.grippers
        return np.concatenate([joints[:6], grippers[:1], joints[6:], grippers[1:]]).astype(np.float32)

    def _solve(self, goals: list[NDArray[np.float64] | None], guess: NDArray[np.float64]) -> NDArray[np.float64]:
        joints, missed = self._ik.solve(goals, guess)
        if missed > MISS_LIMIT:
            where = [np.round(goal[:3], 3).tolist() for goal in goals if goal is not None]
            raise RobotError(f"the expert cannot reach {where}")
        return joints


def together(*scripts: Steps) -> Steps:
    """All at once, until the last has ended."""
    left: list[Any] = list(scripts)
    while left:
        left = [script for script in left if next(script, left) is None]
        if left:
            yield


def until(script: Steps, broken: Callable[[], bool]) -> Generator[None, None, bool]:
    """The script as long as it is not broken, which is asked before each step; returns whether it came to its end."""
    for _ in script:
        yield
        if broken():
            script.close()
            return False
    return True


def opened(hand: Hand) -> bool:
    return hand.gripper > 0.9 * OPEN
