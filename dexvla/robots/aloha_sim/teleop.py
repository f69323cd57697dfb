"""Velocities of both grippers -> joint targets of the simulated ALOHA, one control step at a time.

Frames: linear velocities are those of the pinch point (between the finger tips) in the robot's frame, which is the
scene's world: x from the left arm to the right one, y from the camera side over the table, z up. Angular velocities
are about the gripper's own axes: x forward out of the gripper (roll), y (pitch), z (yaw).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import scene
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.ik import PINCH_OFFSET, SIDES
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.base import ArmTwist

MAX_LINEAR = 0.3  # m/s; whatever is asked for, the vector is shortened to this
MAX_ANGULAR = 1.5  # rad/s
GRIPPER_SPEED = 1.5  # of the normalised scale per second: open to closed in two thirds of a second
_LINEAR_GAIN, _ANGULAR_GAIN = 3.0, 15.0  # m/s^2, rad/s^2: full speed, and rest again, within a tenth of a second

# Of the pinch points, metres. A gripper that is outside is not pulled in; it may not go further out.
WORKSPACE_LOW: NDArray[np.float64] = np.array([-0.5, 0.2, 0.005])
WORKSPACE_HIGH: NDArray[np.float64] = np.array([0.5, 0.95, 0.6])

# How far the target may be ahead of what the last command reaches (limits, obstacles), so that turning back acts at
# once; and how far the last command may be ahead of the arm (it pushes against something) before it is given up.
_LEASH, _ANGULAR_LEASH = 0.02, 0.2  # metres, radians
_PUSH = 0.15  # metres; in free movement the wrists' weak motors lag by as much

# Metres. Finger tips have to reach the table.
_FINGER_DISTANCE, _DISTANCE, _DETECTION_DISTANCE = 0.001, 0.015, 0.05
_APPROACH = 0.3  # of the distance that is left, the most that a step may take: slow enough to be braked in time
_FOREARM = ("4_upper_forearm", "5_lower_forearm")
_HAND = ("6_wrist", "7_gripper", "9_gripper_bar")
_FINGERS = ("10_left_gripper_finger", "10_right_gripper_finger")
_ARM = slice(0, 6)
_GRIPPER = 6


@dataclass
class _Hand:
    """What is remembered of one gripper from step to step. target: pose of the pinch point, a mink.SE3."""

    target: Any
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    linear: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    angular: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))


class AlohaTeleop:
    """Drives both arms by velocities, with inverse kinematics on a model of the robot alone (mink, solved by daqp).

    `step` for every control step in which a person drives, `release` when they let go: the next `step` begins where
    the robot is. Joint targets keep within the joints' limits of position, speed and acceleration. Hands and forearms
    keep off the table and off the other arm, as far as the nearest point of each two shapes tells (rolled over the
    table at full speed they come 5 mm into it); fingers may meet, or no object could be handed over. Not for several
    threads.

    Building one takes about a second where mink is not loaded yet. Raises RobotError where mink or MuJoCo is missing.
    """

    def __init__(self, *, control_hz: float = scene.CONTROL_HZ) -> None:
        try:
            import mink
        except ImportError as error:
            raise RobotError(f"driving the arms needs mink ({error}); install the `robot` extra") from error
        self._mink, self._period = mink, 1.0 / control_hz
        model = _robot_alone()
        self._command = mink.Configuration(model)  # where the last command leads
        self._measured = mink.Configuration(model)
        self._low, self._high = model.jnt_range.T.copy()
        self._pinch = mink.SE3.from_translation(np.array([PINCH_OFFSET, 0.0, 0.0]))
        self._tasks = {
            side: mink.FrameTask(_link(side), "body", position_cost=1.0, orientation_cost=0.2, lm_damping=1e-3)
            for side in SIDES
        }
        joints = [model.joint(index).name for index in range(model.njnt)]
        self._before: NDArray[np.float64] | None = None  # (12,) joints of the command before the last
        self._gain = float(scene.MAX_ACCELERATION[0]) * self._period**2  # radians a step more than the step before
        self._limits = [
            mink.ConfigurationLimit(model),
            self._acceleration_limit(),
            mink.VelocityLimit(model, dict.fromkeys(joints, _joint_speed(control_hz))),
            *(
                mink.CollisionAvoidanceLimit(
                    model,
                    pairs,
                    gain=_APPROACH,
                    minimum_distance_from_collisions=distance,
                    collision_detection_distance=_DETECTION_DISTANCE,
                )
                for pairs, distance in _collision_pairs()
            ),
        ]
        self._fingers = [_finger_places(model, side) for side in SIDES]
        self._hands: tuple[_Hand, _Hand] | None = None
        self.why: str | None = None

    def release(self) -> None:
        """Nobody drives: forget the targets. The next step begins at the last command, at rest."""
        self._hands = self._before = None
        self.why = None

    def step(
        self, left: ArmTwist, right: ArmTwist, *, last_sent: NDArray[np.float32], measured: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The next joint target, (14,) in ALOHA's order and units.

        last_sent: (14,) the command before; measured: (14,) joint positions now. `why` says, for people, what keeps the
        arms from what is asked for, None if nothing does.
        """
        self.why = None
        self._configure(self._command, last_sent)
        self._configure(self._measured, measured)
        if self._hands is None:
            self._hands = (self._aligned(0), self._aligned(1))
        for index, (hand, twist) in enumerate(zip(self._hands, (left, right), strict=True)):
            self._move(hand, twist, index)
            self._tasks[SIDES[index]].set_target(hand.target @ self._pinch.inverse())
        joints = self._solve()
        action = np.array(last_sent, np.float32)
        for index, twist in enumerate((left, right)):
            arm = action[7 * index : 7 * index + 7]
            arm[_ARM] = joints[6 * index : 6 * index + 6]
            speed = float(np.clip(twist.gripper, -1.0, 1.0)) * GRIPPER_SPEED
            arm[_GRIPPER] = np.clip(arm[_GRIPPER] + speed * self._period, 0.0, 1.0)
        return action

    def pinch_points(self, joints: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(2, 3) where joint positions (14,) put the left and the right pinch point, metres, robot's frame."""
        self._configure(self._measured, joints)
        return np.stack([self._pose(self._measured, index).translation() for index in range(2)])

    # --- where the arms are ---------------------------------------------------------------------------------------

    def _configure(self, configuration: Any, joints: NDArray[np.floating[Any]]) -> None:
        """Put the model's arms and fingers where joints (14,) say."""
        values = np.concatenate([joints[:6], joints[7:13]]).astype(np.float64)
        for gripper, places in zip((joints[6], joints[13]), self._fingers, strict=True):
            places.put(configuration.model, scene.denormalise_gripper(float(gripper)))
        configuration.update(q=np.clip(values, self._low, self._high))

    def _pose(self, configuration: Any, index: int) -> Any:
        return configuration.get_transform_frame_to_world(_link(SIDES[index]), "body") @ self._pinch

    def _aligned(self, index: int) -> _Hand:
        """A target where the last command leads; where the arm is if that is elsewhere, pushed off or blocked."""
        pose, measured = self._pose(self._command, index), self._pose(self._measured, index)
        if np.linalg.norm(pose.translation() - measured.translation()) > _PUSH:
            pose = measured
        place = pose.translation()
        return _Hand(target=pose, low=np.minimum(WORKSPACE_LOW, place), high=np.maximum(WORKSPACE_HIGH, place))

    # --- one step -------------------------------------------------------------------------------------------------

    def _move(self, hand: _Hand, twist: ArmTwist, index: int) -> None:
        """Move the target by what is asked for, ramped, inside the workspace and not far ahead of the arm."""
        mink, period = self._mink, self._period
        hand.linear = _ramped(hand.linear, _shortened(twist.linear, MAX_LINEAR), _LINEAR_GAIN * period)
        hand.angular = _ramped(hand.angular, _shortened(twist.angular, MAX_ANGULAR), _ANGULAR_GAIN * period)
        asked = hand.target.translation() + hand.linear * period
        place = np.clip(asked, hand.low, hand.high)
        if not np.array_equal(place, asked):
            self.why = f"the {SIDES[index]} gripper is at the edge of the workspace"
        hand.low, hand.high = np.minimum(place, WORKSPACE_LOW), np.maximum(place, WORKSPACE_HIGH)
        rotation = hand.target.rotation() @ mink.SO3.exp(hand.angular * period)
        reached, measured = self._pose(self._command, index), self._pose(self._measured, index)
        behind = hand.target.translation() - reached.translation()
        held = _leashed(place, reached.translation(), max(_LEASH, float(np.linalg.norm(behind))))
        if not np.array_equal(held, place):
            self.why = f"the {SIDES[index]} arm can't follow: a joint limit, the table or the other arm is in the way"
        pushed = _leashed(held, measured.translation(), _PUSH)
        if not np.array_equal(pushed, held):
            self.why = f"the {SIDES[index]} arm pushes against something"
        turn_back = reached.rotation().inverse()
        behind = (turn_back @ hand.target.rotation()).log()
        turned = _shortened((turn_back @ rotation).log(), max(_ANGULAR_LEASH, float(np.linalg.norm(behind))))
        rotation = reached.rotation() @ mink.SO3.exp(turned)
        hand.target = mink.SE3.from_rotation_and_translation(rotation, pushed)

    def _solve(self) -> NDArray[np.float64]:
        """Joint angles (12,) that come nearest to the targets within all limits."""
        mink = self._mink
        last: NDArray[np.float64] = np.array(self._command.q)
        try:
            velocity = mink.solve_ik(
                self._command, list(self._tasks.values()), self._period, "daqp", damping=1e-6, limits=self._limits
            )
            joints: NDArray[np.float64] = self._command.integrate(velocity, self._period)
        except mink.NoSolutionFound:  # too fast to keep all limits: brake
            joints = last
        self._before = last
        return joints

    def _acceleration_limit(self) -> Any:
        """A mink.Limit: joint velocities near enough to the last ones, so that whoever limits the acceleration on the
        way to the robot has nothing to do. Slowed down there, joint by joint, a gripper's way bends, into the table
        even."""
        mink, size = self._mink, len(self._low)
        both = np.vstack([np.eye(size), -np.eye(size)])

        class AccelerationLimit(mink.Limit):  # type: ignore[misc, name-defined]
            @staticmethod
            def compute_qp_inequalities(configuration: Any, dt: float) -> Any:
                change = np.zeros(size) if self._before is None else configuration.q - self._before
                return mink.Constraint(G=both, h=np.concatenate([self._gain + change, self._gain - change]))

        return AccelerationLimit()


@dataclass(frozen=True, kw_only=True)
class _FingerPlaces:
    """The two finger bodies of a gripper, which have no joints here: their places at closed fingers, (2, 3)."""

    bodies: tuple[int, int]
    closed: NDArray[np.float64]

    def put(self, model: Any, travel: float) -> None:
        """travel: of each finger, metres."""
        for body, place, sign in zip(self.bodies, self.closed, (1.0, -1.0), strict=True):
            model.body_pos[body] = place
            model.body_pos[body, 1] += sign * travel


def _finger_places(model: Any, side: str) -> _FingerPlaces:
    left, right = (model.body(f"vx300s_{side}/{which}_finger_link").id for which in ("left", "right"))
    return _FingerPlaces(bodies=(left, right), closed=model.body_pos[[left, right]].copy())


def _robot_alone() -> Any:
    """A mujoco.MjModel of table and arms: 12 joints, left arm first; no objects, fingers without joints."""
    mujoco = load_mujoco(rendering=False)
    spec = mujoco.MjSpec.from_file(str(scene.assets_folder() / scene.SCENE_FILES[AlohaTask.TRANSFER_CUBE]))
    for item in [*spec.keys, *spec.actuators]:
        spec.delete(item)
    for joint in list(spec.joints):
        if joint.type == mujoco.mjtJoint.mjJNT_FREE:
            spec.delete(joint.parent)
        elif "finger" in joint.name:
            spec.delete(joint)
    return spec.compile()


def _collision_pairs() -> list[tuple[list[tuple[list[str], list[str]]], float]]:
    """Geoms that must keep apart, and by how much, metres."""

    def of(side: str, names: tuple[str, ...]) -> list[str]:
        return [f"vx300s_{side}/{name}" for name in names]

    outer = (*_FOREARM, *_HAND)
    fingers = [(of(side, _FINGERS), ["table"]) for side in SIDES]
    others = [
        *((of(side, outer), ["table"]) for side in SIDES),
        (of("left", outer), of("right", outer)),
        (of("left", outer), of("right", _FINGERS)),
        (of("left", _FINGERS), of("right", outer)),
    ]
    return [(fingers, _FINGER_DISTANCE), (others, _DISTANCE)]


def _joint_speed(control_hz: float) -> float:
    """Radians per second: at most the robot's own, and slow enough for a single control step to brake, as whoever
    limits the acceleration on the way to the robot wants of a target that is so near."""
    return min(float(scene.MAX_VELOCITY[0]), float(scene.MAX_ACCELERATION[0]) / control_hz)


def _link(side: str) -> str:
    return f"vx300s_{side}/gripper_link"


def _shortened(vector: Any, most: float) -> NDArray[np.float64]:
    """A vector in the same direction, no longer than `most`."""
    values = np.asarray(vector, np.float64)
    largest = float(np.abs(values).max())
    if largest > most:  # first by its largest entry, whose square may not fit
        values = values * (most / largest)
    length = float(np.linalg.norm(values))
    return values if length <= most else values * (most / length)


def _ramped(now: NDArray[np.float64], goal: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    return now + _shortened(goal - now, most)


def _leashed(position: NDArray[np.float64], origin: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """`position`, no further than `length` from `origin`."""
    away = position - origin
    return position if float(np.linalg.norm(away)) <= length else origin + _shortened(away, length)
