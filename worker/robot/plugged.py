"""The robot that a host owns, whichever it is: made from its registered name and the options of its place."""

import logging
from collections.abc import Mapping
from typing import Any

from dexvla.act.limits import SafetyLimits
from dexvla.errors import RobotError
from dexvla.live.messages import SceneIn
from dexvla.robots.base import LiveRobot, LiveTaskRobot, RobotInfo, Teleop
from dexvla.robots.live import is_live_task_robot
from dexvla.robots.registry import arguments, chosen, make_live, read_options, robot_kind, task_descriptions
from dexvla.spec.fields import TaskDescription
from worker.robot.arbiter import Arbiter
from worker.robot.control import ControlLoop
from worker.robot.stage import Stage

DEFAULT_ROBOT = "aloha_sim_live"
log = logging.getLogger("studio.robot")


class PluggedRobot:
    """name: as it is registered. options: as a file gives them. task: of a simulator's first scene, empty for its
    first one. Raises RobotError for a robot, an option or a task that there is not."""

    def __init__(self, name: str, *, options: Mapping[str, Any], task: str = "") -> None:
        self.name, self._kind = name, robot_kind(name)
        self._options = read_options(name, self._kind.live or self._kind.make, options)
        self.scene: SceneIn | None = None
        self.tasks: tuple[TaskDescription, ...] = ()
        if self._kind.tasks is not None:
            self.scene = chosen(name, SceneIn(task=task, seed=0))
            self.tasks = task_descriptions(name)
            taken = sorted(set(self._options) & {*arguments(name, self.scene), "render"})
            if taken:
                raise RobotError(
                    f"options of robot {name!r}: {', '.join(taken)} belong to the scene, which pages change"
                )
        elif task:
            raise RobotError(f"robot {name!r} sets up no tasks; leave the task out")

    @property
    def task(self) -> str | None:
        """Of the first scene."""
        return None if self.scene is None else self.scene.task

    @property
    def arms(self) -> int:
        """That a person drives."""
        return self._kind.arms

    def first(self) -> LiveRobot:
        """Not connected yet. Raises RobotError for one without the limits that whoever commands it is held to."""
        robot = self.make() if self.scene is None else self.make(**arguments(self.name, self.scene))
        try:
            SafetyLimits.for_robot(robot.info)
        except ValueError as error:
            raise RobotError(f"robot {self.name!r} cannot be driven live: {error}") from error
        if robot.info.max_velocity is None and not robot.info.simulated:
            log.warning("%s tells no greatest velocity: only its position limits hold whoever commands it", self.name)
        return robot

    def make(self, **changes: Any) -> LiveRobot:
        return make_live(self.name, **{**self._options, **changes})

    def stage(self, robot: LiveRobot, *, loop: ControlLoop, arbiter: Arbiter) -> Stage | None:
        """What changes the robot's scene; None where it sets up no tasks."""
        if self.scene is None or not is_live_task_robot(robot):
            return None
        return Stage(robot, kind=self.name, make=self._make_staged, loop=loop, arbiter=arbiter, scene=self.scene)

    def _make_staged(self, **changes: Any) -> LiveTaskRobot:
        robot = self.make(**changes)
        assert is_live_task_robot(robot), "the first one was one"
        return robot

    def teleop(self, info: RobotInfo) -> Teleop:
        """May take a second. Raises RobotError where nobody drives this robot by hand, or something is missing."""
        if self._kind.teleop is None:
            raise RobotError("its plug-in has no kinematics (RobotKind.teleop); a policy may drive it")
        return self._kind.teleop(info)
