"""Scripted experts of both tasks: an open-loop plan from the reset state, with the substep of every step.

A plan is a list of phases, each a pose of both pinch points to reach in a number of steps. Inverse kinematics turns it
into joint targets, which the joint-controlled scene follows. Free movements run straight in joint space, movements
near an object straight in space. The seed varies timing, way and meeting point and adds a little noise, so that
demonstrations differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import pick_colour, tasks
from dexvla.robots.aloha_sim.ik import BimanualIK, forearm_unrolled
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.scene import START_POSE, normalise_gripper

OPEN, CLOSED = 1.0, 0.0
_CUBE_REST, _PEG_REST, _SOCKET_REST = 0.02, 0.01, 0.022  # height of the centres when they lie on the table, metres
_TREMOR, _TREMOR_STEPS = 0.002, 10  # deviation of the noise on arm joints, radians; steps over which it is smoothed
# Phases are this part shorter to longer. Where the substep is to be told from the image and not from the time, more.
_TEMPO = {AlohaTask.TRANSFER_CUBE: 0.06, AlohaTask.INSERTION: 0.06, AlohaTask.PICK_COLOUR: 0.2}
MISS_LIMIT = 0.003  # metres; a plan that misses its own poses by more is refused


class AlohaScene(Protocol):
    """What an expert looks at: `AlohaSim` or `LiveAlohaSim`, just reset."""

    @property
    def task(self) -> AlohaTask: ...

    @property
    def pick(self) -> pick_colour.PickScene | None: ...

    @property
    def model(self) -> Any: ...

    @property
    def data(self) -> Any: ...


@dataclass(frozen=True)
class ExpertStep:
    """One step of a demonstration. action: (14,) float32, ALOHA's order and units."""

    action: NDArray[np.float32]
    substep: str


@dataclass(frozen=True)
class Hand:
    """Where a gripper should be: pinch point, metres; pitch (down), roll, yaw, radians; gripper 0 closed .. 1 open."""

    position: NDArray[np.float64]
    pitch: float
    roll: float
    gripper: float
    yaw: float = 0.0

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, *, gripper: float | None = None) -> "Hand":
        gripper = self.gripper if gripper is None else gripper
        return Hand(self.position + np.array([x, y, z]), self.pitch, self.roll, gripper, self.yaw)

    @property
    def pose(self) -> NDArray[np.float64]:
        """(6,) as `BimanualIK.solve` takes it."""
        return np.array([*self.position, self.yaw, self.pitch, self.roll])


@dataclass(frozen=True)
class Phase:
    """Move both hands to these poses in `steps`, then stay for `settle` steps: the arms follow with a lag.

    free: straight in joint space instead of straight in space.
    """

    substep: str
    steps: int
    left: Hand
    right: Hand
    settle: int = 0
    free: bool = False


@dataclass
class ScriptedExpert:
    """Plans one demonstration of `task`. The same seed and the same reset state give the same plan."""

    task: AlohaTask
    seed: int
    random: np.random.Generator = field(init=False, repr=False)

    def plan(self, robot: AlohaScene) -> list[ExpertStep]:
        """The whole demonstration, at most `tasks.max_steps`, from the object poses of a robot that was just reset.

        Takes about 0.05 s. Raises RobotError if an object lies where the arms cannot grasp it.
        """
        if robot.task is not self.task:
            raise RobotError(f"the expert is for {self.task}, the robot is set up for {robot.task}")
        # A stream of its own: that of the scene would tie the way of moving to the place of the objects.
        self.random = np.random.default_rng([self.seed, 0xA10A])
        if robot.pick is not None:
            return self._right_arm_alone(
                self._trembling(self._steps(self._pick_colour(robot.pick), BimanualIK(robot.model)))
            )
        objects = np.array(robot.data.qpos[len(START_POSE) :]).reshape(-1, 7)[:, :3]
        if self.task is AlohaTask.TRANSFER_CUBE:
            phases = self._transfer_cube(objects[0])
        else:
            phases = self._insertion(objects[0], objects[1])
        return self._trembling(self._steps(phases, BimanualIK(robot.model)))

    # --- the plans ----------------------------------------------------------------------------------------------

    def _around(self, *spread: float) -> NDArray[np.float64]:
        return np.array([self.random.uniform(-s, s) for s in spread])

    def _angle(self, degrees: float, spread: float) -> float:
        return float(np.deg2rad(degrees + self.random.uniform(-spread, spread)))

    def _above(self, hand: Hand) -> Hand:
        return hand.moved(*self._around(0.015, 0.015, 0.01)).moved(z=0.08)

    def _transfer_cube(self, cube: NDArray[np.float64]) -> list[Phase]:
        """The right arm picks the cube up from above; the left one takes it level, its fingers above and below."""
        rest = np.array([cube[0], cube[1], _CUBE_REST])
        meet = np.array([0.0, 0.5, 0.25]) + self._around(0.02, 0.02, 0.02)
        pitch = self._angle(63, 4)
        above_cube = 0.012  # the tips then reach 7 mm below the centre and stay clear of the table
        pick = Hand(rest, pitch, 0.0, OPEN).moved(z=above_cube)
        hand_over = Hand(meet, pitch, 0.0, CLOSED).moved(z=above_cube)
        take = Hand(meet, self._angle(0, 4), np.pi / 2, OPEN)
        wait = take.moved(x=-0.1, gripper=OPEN)

        return [
            Phase("Reach for the red cube with the right arm", 62, wait, self._above(pick), free=True),
            Phase("Reach for the red cube with the right arm", 32, wait, pick, settle=8),
            Phase("Grasp the red cube with the right gripper", 10, wait, pick.moved(gripper=CLOSED), settle=18),
            Phase("Bring the cube to the left gripper", 75, wait, hand_over, settle=10),
            Phase("Grasp the cube with the left gripper", 36, take, hand_over, settle=8),
            Phase("Grasp the cube with the left gripper", 10, take.moved(gripper=CLOSED), hand_over, settle=18),
            Phase("Release the cube from the right gripper", 10, take.moved(gripper=CLOSED),
                  hand_over.moved(gripper=OPEN), settle=18),
            Phase("Move the cube away with the left arm", 40, wait.moved(gripper=CLOSED),
                  hand_over.moved(x=0.1, z=0.03, gripper=OPEN), settle=10),
        ]  # fmt: skip

    def _pick_colour(self, scene: pick_colour.PickScene) -> list[Phase]:
        """The right arm lifts the named cube from above. The left hand's poses are only to have some."""
        left = Hand(np.array([-0.3, 0.5, 0.3]), 0.0, 0.0, OPEN)
        rest = np.array([*scene.places[scene.named], pick_colour.REST])
        pick = Hand(rest, self._angle(63, 4), 0.0, OPEN).moved(z=0.012)
        closed = pick.moved(gripper=CLOSED)
        lift = closed.moved(*self._around(0.01, 0.01, 0.01)).moved(z=0.12)
        cube = f"the {scene.named} cube"
        return [
            Phase(f"Reach for {cube}", 46, left, self._above(pick), free=True),
            Phase(f"Lower the gripper over {cube}", 26, left, pick, settle=5),
            Phase(f"Close the gripper on {cube}", 10, left, closed, settle=10),
            Phase(f"Lift {cube}", 32, left, lift, settle=15),
        ]

    @staticmethod
    def _right_arm_alone(steps: list[ExpertStep]) -> list[ExpertStep]:
        """The same steps with the left arm in its start pose."""
        left = np.array([*START_POSE[:6], normalise_gripper(START_POSE[6])], np.float32)
        return [ExpertStep(np.concatenate([left, step.action[7:]]), step.substep) for step in steps]

    def _insertion(self, peg: NDArray[np.float64], socket: NDArray[np.float64]) -> list[Phase]:
        """Each arm lifts its object by the middle; they meet, and the peg is pushed in until it touches the pin."""
        meet = np.array([0.0, 0.5, 0.17]) + self._around(0.02, 0.02, 0.02)
        pitch_left, pitch_right = self._angle(63, 3), self._angle(63, 3)
        socket_grip, peg_grip = 0.008, 0.012  # pinch point above the object's centre
        left = Hand(np.array([socket[0], socket[1], _SOCKET_REST + socket_grip]), pitch_left, 0.0, OPEN)
        right = Hand(np.array([peg[0], peg[1], _PEG_REST + peg_grip]), pitch_right, 0.0, OPEN)
        # Middle to middle 0.12 apart the peg's end is at the socket's mouth, 0.10 apart it touches the pin.
        apart = 0.2 + self.random.uniform(-0.01, 0.02)
        left_meet = Hand(meet, pitch_left, 0.0, CLOSED).moved(x=-apart / 2, z=socket_grip)
        right_meet = Hand(meet, pitch_right, 0.0, CLOSED).moved(x=apart / 2, z=peg_grip)
        push = (apart - 0.09) / 2

        return [
            Phase("Reach for the peg and the socket", 62, self._above(left), self._above(right), free=True),
            Phase("Reach for the peg and the socket", 32, left, right, settle=10),
            Phase("Grasp the peg and the socket", 10, left.moved(gripper=CLOSED), right.moved(gripper=CLOSED),
                  settle=20),
            Phase("Align the peg with the socket", 90, left_meet, right_meet, settle=15),
            Phase("Insert the peg into the socket", 70, left_meet.moved(x=push), right_meet.moved(x=-push),
                  settle=30),
        ]  # fmt: skip

    # --- from phases to steps -----------------------------------------------------------------------------------

    def _steps(self, phases: Sequence[Phase], ik: BimanualIK) -> list[ExpertStep]:
        phases = self._retimed(phases)
        joints = np.concatenate([START_POSE[:6], START_POSE[8:14]])
        grippers = np.array([normalise_gripper(START_POSE[6]), normalise_gripper(START_POSE[14])])
        poses: list[NDArray[np.float64]] | None = None
        steps: list[ExpertStep] = []
        for phase in phases:
            goals = [phase.left.pose, phase.right.pose]
            goal_grippers = np.array([phase.left.gripper, phase.right.gripper])
            assert phase.free or poses is not None, "a plan starts with a free phase"
            goal_joints = self._reach(ik, goals, forearm_unrolled(goals)) if phase.free else joints
            start_joints = joints
            for part in minimum_jerk(phase.steps):
                if phase.free:
                    joints = start_joints + part * (goal_joints - start_joints)
                else:
                    assert poses is not None
                    between = [a + part * (b - a) for a, b in zip(poses, goals, strict=True)]
                    joints = self._reach(ik, between, joints)
                steps.append(_step(joints, grippers + part * (goal_grippers - grippers), phase.substep))
            poses, grippers = goals, goal_grippers
            steps += [_step(joints, grippers, phase.substep)] * phase.settle
        return steps

    def _retimed(self, phases: Sequence[Phase]) -> list[Phase]:
        """Every phase a little shorter or longer, as long as the whole stays within the task's steps."""
        spread = _TEMPO[self.task]
        retimed = [
            Phase(
                p.substep,
                round(p.steps * self.random.uniform(1 - spread, 1 + spread)),
                p.left,
                p.right,
                p.settle,
                p.free,
            )
            for p in phases
        ]
        total = sum(phase.steps + phase.settle for phase in retimed)
        assert total <= tasks.max_steps(self.task), f"a plan of {total} steps"
        return retimed

    def _trembling(self, steps: list[ExpertStep]) -> list[ExpertStep]:
        """Slow noise on the arm joints, grippers left alone: demonstrations also show states beside the ideal path."""
        white = self.random.normal(0, _TREMOR * np.sqrt(_TREMOR_STEPS), (len(steps) + _TREMOR_STEPS - 1, 14))
        noise = np.stack([np.convolve(row, np.full(_TREMOR_STEPS, 1 / _TREMOR_STEPS), "valid") for row in white.T], 1)
        noise[:, [6, 13]] = 0.0
        return [ExpertStep((s.action + n).astype(np.float32), s.substep) for s, n in zip(steps, noise, strict=True)]

    @staticmethod
    def _reach(ik: BimanualIK, hands: Sequence[NDArray[np.float64]], guess: NDArray[np.float64]) -> NDArray[np.float64]:
        joints, missed = ik.solve(hands, guess)
        if missed > MISS_LIMIT:
            raise RobotError(f"the expert cannot reach {np.round([hand[:3] for hand in hands], 3).tolist()}")
        return joints


def minimum_jerk(steps: int) -> NDArray[np.float64]:
    """(steps,) the part of the way done after each step, ending at 1: starts and ends at rest (Flash & Hogan 1985)."""
    t = np.arange(1, steps + 1) / steps
    return np.asarray(10 * t**3 - 15 * t**4 + 6 * t**5)


def _step(joints: NDArray[np.float64], grippers: NDArray[np.float64], substep: str) -> ExpertStep:
    action = np.concatenate([joints[:6], grippers[:1], joints[6:], grippers[1:]]).astype(np.float32)
    return ExpertStep(action, substep)
