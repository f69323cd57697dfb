"""What a robot is to the rest of the project: names and sizes that are known before it is connected, then
`connect`, `observe`, `act`, `disconnect`. A driver touches hardware or a simulator and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dexvla.spec import CameraSpec


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One camera picture.

    image: (H, W, 3) uint8 RGB. time: seconds on the robot's clock at which the scene looked like this.
    """

    image: NDArray[np.uint8]
    time: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the robot measured at one step.

    qpos: (S,) float32; revolute joints in radians, normalised grippers 0 closed .. 1 open.
    qvel: (S,) float32, the same per second. time: seconds on the robot's clock (simulated time in a simulator).
    frames: newest picture of each camera, by camera name; each carries a time of its own.
    """

    time: float
    qpos: NDArray[np.float32]
    qvel: NDArray[np.float32]
    frames: Mapping[str, Frame] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RobotInfo:
    """What is known of a robot before it is connected.

    joint_names: (S,) names of qpos' entries; action_names: (A,) names of an action's entries.
    action_low, action_high: (A,) float32 limits, in the units of qpos. control_hz: steps a second.
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
    """A robot. Use it from one thread; `disconnect` may be called twice and never raises."""

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
    """A robot that can set up a task by seed and judge it: a simulator."""

    @property
    def instruction(self) -> str: ...

    @property
    def max_steps(self) -> int: ...

    @property
    def max_reward(self) -> float: ...

    def reset(self, seed: int) -> Observation:
        """Put the scene into the start state that belongs to `seed`, the same every time."""
        ...

    def outcome(self) -> TaskOutcome:
        """The outcome up to and including the last `act`."""
        ...
