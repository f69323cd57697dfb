"""Any robot as a live one: its cameras are read within the control loop, so they must be quicker than a step."""

import inspect
from collections.abc import Collection, Mapping
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.base import LiveRobot, LiveTaskRobot, Observation, Robot, RobotInfo, TaskOutcome, TaskRobot
from dexvla.spec import CameraSpec, RenderProfile

_MISSING = object()
_LIVE = ("views", "camera_fault", "watch", "restart_cameras")
_ROBOT = ("info", "connect", "observe", "act", "disconnect")
_TASK = ("task", "render_profile", "instruction", "max_steps", "max_reward", "scene_attributes", "reset", "outcome")


class AsLive:
    """A plain Robot where a LiveRobot is wanted. A camera that fails is the robot's failure: the host stops it."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    @property
    def info(self) -> RobotInfo:
        return self._robot.info

    @property
    def views(self) -> tuple[CameraSpec, ...]:
        return ()

    @property
    def camera_fault(self) -> str | None:
        return None

    def connect(self) -> None:
        self._robot.connect()

    def observe(self, *, images: bool = True) -> Observation:
        return self._robot.observe(images=images)

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._robot.act(action)

    def disconnect(self) -> None:
        self._robot.disconnect()

    def watch(self, cameras: Collection[str]) -> None:
        pass

    def restart_cameras(self) -> None:
        raise RobotError(f"the cameras of {self.info.name} are part of the robot; they restart with it")


class AsLiveTask(AsLive):
    """A plain TaskRobot where a LiveTaskRobot is wanted."""

    def __init__(self, robot: TaskRobot) -> None:
        super().__init__(robot)
        self._task_robot = robot

    @property
    def task(self) -> str:
        return self._task_robot.task

    @property
    def render_profile(self) -> RenderProfile:
        return self._task_robot.render_profile

    @property
    def instruction(self) -> str:
        return self._task_robot.instruction

    @property
    def max_steps(self) -> int:
        return self._task_robot.max_steps

    @property
    def max_reward(self) -> float:
        return self._task_robot.max_reward

    @property
    def scene_attributes(self) -> Mapping[str, str | float | bool]:
        return self._task_robot.scene_attributes

    def reset(self, seed: int, *, wait: bool = True) -> Observation:
        return self._task_robot.reset(seed)

    def outcome(self) -> TaskOutcome:
        return self._task_robot.outcome()


def as_live(robot: Robot) -> LiveRobot:
    if _has(robot, _LIVE):
        return robot  # type: ignore[return-value]
    return AsLiveTask(robot) if _has(robot, _TASK) else AsLive(robot)  # type: ignore[arg-type]


def is_live_task_robot(robot: Robot) -> TypeGuard[LiveTaskRobot]:
    return _has(robot, (*_LIVE, *_TASK))


def is_task_robot(robot: object) -> TypeGuard[TaskRobot]:
    return _has(robot, (*_ROBOT, *_TASK))


def _has(robot: object, names: Collection[str]) -> bool:
    """Without asking the robot: a property may raise before it is connected. One may be None, as a fault is."""
    return all(inspect.getattr_static(robot, name, _MISSING) is not _MISSING for name in names)
