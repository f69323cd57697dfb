"""Inverse kinematics of both ViperX arms: where the grippers should be -> joint angles (mink, solved by daqp)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim.scene import START_POSE

SIDES = ("left", "right")

# The pinch point lies this far ahead of the MJCF's gripper_link, metres: the mocap frames of gym-aloha's end-effector
# scenes sit there, and the finger tips another 0.019 m ahead. Planning for gripper_link itself grasps nothing.
PINCH_OFFSET = 0.1347

_BASE_YAW = {"left": 0.0, "right": np.pi}  # both arms look at the middle of the table
_BASE_X, _BASE_Y = 0.469, 0.5  # of the right arm's base, metres; the left one is mirrored in x
_TOLERANCE = 1e-4  # metres and radians
_MAX_ITERATIONS = 20


class BimanualIK:
    """Joint angles for pinch-point poses of both grippers.

    model: a mujoco.MjModel of an ALOHA scene. Its objects are not touched.
    """

    def __init__(self, model: Any) -> None:
        try:
            import mink
        except ImportError as error:
            raise RobotError(f"the scripted experts need mink ({error}); install the `robot` extra") from error
        self._mink = mink
        qpos = np.array(model.qpos0)
        qpos[: len(START_POSE)] = START_POSE
        self._configuration = mink.Configuration(model, q=qpos)
        self._offset = mink.SE3.from_translation(np.array([PINCH_OFFSET, 0.0, 0.0]))
        # The small dampings only make the least-squares problem unique in the entries of fingers and objects.
        self._hands = {
            side: mink.FrameTask(
                f"vx300s_{side}/gripper_link", "body", position_cost=1.0, orientation_cost=0.1, lm_damping=1e-6
            )
            for side in SIDES
        }
        self._limits = [mink.ConfigurationLimit(model)]

    def solve(
        self, hands: Sequence[NDArray[np.float64] | None], guess: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Joint angles (12,), radians, left arm first, and the distance by which the pinch points are missed, metres.

        hands: for left and right (6,): pinch point x, y, z, metres in the world, then yaw, pitch and roll, radians:
        zero points the gripper level at the other arm, pitch turns it down, roll about its own axis. None leaves an
        arm as guessed; at least one is given.
        guess: joint angles (12,) to start from; they decide between solutions, see `forearm_unrolled`.
        """
        mink = self._mink
        qpos = self._configuration.q.copy()
        qpos[:6], qpos[8:14] = guess[:6], guess[6:]
        self._configuration.update(q=qpos)
        wanted = {side: hand for side, hand in zip(SIDES, hands, strict=True) if hand is not None}
        for side, hand in wanted.items():
            rotation = (
                mink.SO3.from_z_radians(_BASE_YAW[side] + hand[3])
                @ mink.SO3.from_y_radians(hand[4])
                @ mink.SO3.from_x_radians(hand[5])
            )
            pinch = mink.SE3.from_rotation_and_translation(rotation, np.asarray(hand[:3], np.float64))
            self._hands[side].set_target(pinch @ self._offset.inverse())
        tasks = [self._hands[side] for side in wanted]
        for _ in range(_MAX_ITERATIONS):
            errors = [task.compute_error(self._configuration) for task in tasks]
            if np.abs(errors).max() < _TOLERANCE:
                break
            # One second at the solved velocity is one Gauss-Newton step.
            velocity = mink.solve_ik(self._configuration, tasks, 1.0, "daqp", damping=1e-8, limits=self._limits)
            self._configuration.integrate_inplace(velocity, 1.0)
        missed = max(float(np.linalg.norm(task.compute_error(self._configuration)[:3])) for task in tasks)
        qpos = self._configuration.q
        return np.concatenate([qpos[:6], qpos[8:14]]), missed

    def hand(self, side: str, joints: NDArray[np.float64]) -> NDArray[np.float64]:
        """(6,) pinch point and angles of one gripper at joint angles (12,), as `solve` takes them."""
        qpos = self._configuration.q.copy()
        qpos[:6], qpos[8:14] = joints[:6], joints[6:]
        self._configuration.update(q=qpos)
        gripper = self._configuration.get_transform_frame_to_world(f"vx300s_{side}/gripper_link", "body")
        return pose_of(side, gripper.rotation().as_matrix(), gripper.translation())


def pose_of(side: str, rotation: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6,) pinch point and angles, as `BimanualIK.solve` takes them, of a gripper_link: its rotation, and place, m."""
    pinch = position + PINCH_OFFSET * rotation[:, 0]
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0]) - _BASE_YAW[side]
    pitch = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
    roll = np.arctan2(rotation[2, 1], rotation[2, 2])
    return np.array([*pinch, (yaw + np.pi) % (2 * np.pi) - np.pi, pitch, roll])


def forearm_unrolled(hands: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """A guess (12,) for `BimanualIK.solve`: both arms look at their targets without rolling their forearms.

    A pose has two solutions, a wrist bent one way, or the other way with the forearm rolled by half a turn. Following a
    path through the stretched wrist, a singularity which lies between the start pose and a grasp from above, would
    slip into the second.
    """
    guess: list[float] = []
    for side, hand in zip(SIDES, hands, strict=True):
        sign = 1.0 if side == "left" else -1.0
        waist = np.arctan2(sign * (hand[1] - _BASE_Y), _BASE_X + sign * hand[0])
        shoulder, elbow = 0.0, 0.8
        # With the forearm unrolled the three hinges add up to the pitch of the gripper.
        guess += [waist, shoulder, elbow, 0.0, hand[4] - shoulder - elbow, hand[5]]
    return np.array(guess)
