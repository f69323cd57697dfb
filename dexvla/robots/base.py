"""What a robot is to the rest of the project: names and sizes that are known before it is connected, then
`connect`, `observe`, `act`, `disconnect`. A driver touches hardware or a simulator and nothing else."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.spec import CameraSpec, RecoveryOptions, RenderProfile
from dexvla.spec.base import Spec


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One camera's image at one time.

    image: (H, W, 3) uint8 RGB. time: seconds on the robot's clock at which the scene looked like this.
    """

    image: NDArray[np.uint8]
    time: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the robot measured at one step.

    qpos: (S,) float32; revolute joints in radians, normalised grippers 0 closed .. 1 open.
    qvel: (S,) float32, the same per second. time: seconds on the robot's clock (simulated time in a simulator).
    frames: newest frame of each camera, by camera name; each carries a time of its own.
    """

    time: float
    qpos: NDArray[np.float32]
    qvel: NDArray[np.float32]
    frames: Mapping[str, Frame] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RobotInfo:
    """What is known of a robot before it is connected.

    joint_names: (S,) names of qpos' entries; action_names: (A,) names of an action's entries.
    action_low, action_high: (A,) float32 limits, in the units of qpos. control_hz: control rate, Hz.
    max_velocity, max_acceleration: (A,) float32, what whoever commands it live may ask for, in the units of qpos per
    second and per second squared; None: no limit is known.
    simulated: stored as the attribute `sim` of every episode (it decides how actions line up with states).
    """

    name: str
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    control_hz: float
    simulated: bool
    cameras: tuple[CameraSpec, ...]
    max_velocity: NDArray[np.float32] | None = None
    max_acceleration: NDArray[np.float32] | None = None


@runtime_checkable
class Robot(Protocol):
    """A robot. It is used from one thread at a time, but not always the same one: a live host connects a simulator of
    a new scene beside the old one, and its control loop goes on with it. `disconnect` may be called twice, also of a
    robot that was never connected, and does not raise.
    """

    @property
    def info(self) -> RobotInfo: ...

    def connect(self) -> None:
        """Open the hardware or build the scene. Raises RobotError with what is missing."""
        ...

    def observe(self, *, images: bool = True) -> Observation: ...

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Command one step, (A,); returns what was sent after the limits, (A,) float32.

        A non-finite value or a wrong shape raises RobotError and sends nothing.
        """
        ...

    def disconnect(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """How a task stands after a step.

    reward: the task's own scale (0 .. max_reward). success: the task's published rule has been met at some step.
    held: a stricter rule that must hold now (None where the task has none). wrong: another object than the named one
    was taken, which no later step makes good (None where the task names none).
    """

    reward: float
    success: bool
    held: bool | None
    wrong: bool | None = None


@runtime_checkable
class TaskRobot(Robot, Protocol):
    """A robot that can set up a task by seed and judge it: a simulator.

    Made with the keyword arguments `cameras` (tuple of CameraSpec), `render` (RenderProfile) and those of its
    `TaskSet.arguments`.
    """

    @property
    def task(self) -> str:
        """Name of the task that it sets up."""
        ...

    @property
    def render_profile(self) -> RenderProfile: ...

    @property
    def instruction(self) -> str:
        """Of the scene since the last reset."""
        ...

    @property
    def max_steps(self) -> int: ...

    @property
    def max_reward(self) -> float: ...

    @property
    def scene_attributes(self) -> Mapping[str, str | float | bool]:
        """What tells this scene from others of its task: stored as attributes of the episode. Often nothing."""
        ...

    def reset(self, seed: int) -> Observation:
        """Put the scene into the start state that belongs to `seed`, the same every time."""
        ...

    def outcome(self) -> TaskOutcome:
        """The outcome up to and including the last `act`."""
        ...


# --- driven live ------------------------------------------------------------------------------------------------------


@runtime_checkable
class LiveRobot(Robot, Protocol):
    """A robot in real time, whose cameras work beside the control loop: `observe` gives the newest frames and never
    waits for one. A plain Robot is driven live by way of `dexvla.robots.live.AsLive`."""

    @property
    def views(self) -> tuple[CameraSpec, ...]:
        """Images for people alone: watched as cameras are, never recorded."""
        ...

    @property
    def camera_fault(self) -> str | None:
        """What is wrong with the cameras, None while all is well. Never waits."""
        ...

    def watch(self, cameras: Collection[str]) -> None:
        """Only these cameras and views are of interest until further notice; at first all are. Never waits."""
        ...

    def restart_cameras(self) -> None:
        """After a camera fault: begin again and return at once. Raises RobotError where that cannot be."""
        ...


@runtime_checkable
class LiveTaskRobot(LiveRobot, TaskRobot, Protocol):
    """A simulator in real time: its scene can be changed while a page is watching."""

    def reset(self, seed: int, *, wait: bool = True) -> Observation:
        """As TaskRobot.reset. Without `wait` it returns at once, frames of the new scene follow."""
        ...


@runtime_checkable
class Adopting(Protocol):
    """A LiveTaskRobot that can take over a scene that goes on. Without it, the scene begins anew for a policy with
    other cameras."""

    def adopt(self, other: Any) -> None:
        """Go on where `other` is, a connected robot of the same task that was made with other cameras."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArmTwist:
    """What one gripper is asked to do. linear (3,): m/s; angular (3,): rad/s; gripper: -1 closes, 1 opens.

    linear is in the robot's frame; angular about the gripper's own axes (x roll, y pitch, z yaw).
    """

    linear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angular: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gripper: float = 0.0


@runtime_checkable
class Teleop(Protocol):
    """Turns velocities of both grippers into joint targets. Used in the control loop's thread alone.

    What it gives is limited once more by the host (position, velocity, acceleration of RobotInfo) before it is sent.
    """

    @property
    def why(self) -> str | None:
        """Why the robot does not do what is asked, for the person who drives; None while it does."""
        ...

    def release(self) -> None:
        """Nobody drives. The next step begins where the robot is."""
        ...

    def step(
        self, left: ArmTwist, right: ArmTwist, *, last_sent: NDArray[np.float32], measured: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The coming command, (A,), of one control step. last_sent (A,); measured (S,) qpos. A robot with one arm is
        driven by `right`, and by `left` where `right` is at rest."""
        ...


# --- tasks ------------------------------------------------------------------------------------------------------------


class NoOptions(Spec):
    """Of a task that has none."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a robot. name: in specs, messages and episode files; title: for people.

    options: a frozen pydantic model; titles, descriptions, defaults and labels on its fields become forms and flags.
    dataset: proposed name of a dataset of its demonstrations. cameras: beside the robot's own, those that its
    demonstrations need. instructions: examples to choose from, where the seed decides.
    """

    name: str
    title: str
    options: type[Spec] = NoOptions
    dataset: str | None = None
    cameras: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()


class DemonstratedStep(Protocol):
    """action: (A,) what is to be learnt of the step; substep: what the expert is doing."""

    @property
    def action(self) -> NDArray[np.float32]: ...

    @property
    def substep(self) -> str: ...

    @property
    def source(self) -> StepSource: ...


class Demonstration(Protocol):
    """What an expert did in one scene, found without cameras, to be played again with them.

    success: of the task. with_sources: steps differ in who commanded them, and it is to be stored. attributes: of the
    episode, beside the scene's.
    """

    @property
    def steps(self) -> Sequence[DemonstratedStep]: ...

    @property
    def success(self) -> bool: ...

    @property
    def with_sources(self) -> bool: ...

    @property
    def attributes(self) -> Mapping[str, str | float | bool]: ...

    def prepare(self, robot: TaskRobot) -> None:
        """Bring the robot into the state in which the first step is taken."""
        ...

    def apply(self, robot: TaskRobot, number: int) -> NDArray[np.float32]:
        """Let step `number` happen; returns what was sent after limits, (A,)."""
        ...


class TaskSet(Protocol):
    """The tasks of a robot. Adding one to a robot touches nothing else."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """At least one; the first is the default."""
        ...

    @property
    def recovers(self) -> bool:
        """Whether demonstrations can show recoveries (RecoveryOptions)."""
        ...

    def arguments(self, task: str, options: Any) -> dict[str, Any]:
        """Keyword arguments of the robot's factory that set up this task. options: of the task's own class."""
        ...

    def demonstrate(self, robot: TaskRobot, seed: int, recovery: RecoveryOptions | None) -> Demonstration:
        """Let the scripted expert do the task from `seed`. Raises RobotError for a task without an expert."""
        ...


@dataclass(frozen=True, kw_only=True)
class RobotKind:
    """What the entry point of a robot leads to, where a callable that makes a Robot is not enough.

    make: keyword options -> Robot. live: the same for a LiveRobot, where `make` gives none. tasks: of a simulator.
    teleop: makes what turns a hand's velocities into commands of this robot; may take a second, raises RobotError
    with what is missing. None: nobody drives it by hand. arms: how many it drives, 1 or 2. title: for people, within a
    sentence ("simulated ALOHA"). recorded_as: what a robot calls itself in `RobotInfo.name` and so in its episodes and
    checkpoints, by which forms find it again; None: the name under which it is registered.
    """

    make: Callable[..., Robot]
    live: Callable[..., LiveRobot] | None = None
    tasks: TaskSet | None = None
    teleop: Callable[[RobotInfo], Teleop] | None = None
    arms: int = 2
    title: str | None = None
    recorded_as: str | None = None
