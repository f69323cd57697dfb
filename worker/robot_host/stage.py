"""The scene of a simulated robot: which task and seed it shows, and through which cameras.

Whoever calls waits for the second or two that a new scene takes to build; the control loop does not: it commands the
old one until the new one is ready, and changes over between two steps.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from backend.live.messages import Mode, SceneIn, SceneOut
from dexvla.act.base import PolicyMetadata
from dexvla.act.rollout import cameras_for
from dexvla.errors import RobotError, UserError
from dexvla.robots.base import Observation, TaskOutcome
from dexvla.spec import AlohaTask, CameraSpec, PickColourOptions, RenderProfile
from worker.robot_host.cockpit import BusyError, Cockpit
from worker.robot_host.control import ControlLoop, LiveRobot

log = logging.getLogger("studio.robot")


class StageRobot(LiveRobot, Protocol):
    """A simulator in real time."""

    @property
    def instruction(self) -> str: ...

    @property
    def render_profile(self) -> RenderProfile: ...

    def reset(self, seed: int, *, wait: bool = True) -> Observation: ...

    def adopt(self, other: Any) -> None: ...

    def outcome(self) -> TaskOutcome: ...


class Stage:
    """make(task=, cameras=, render=, pick=) gives a robot that is not connected yet; pick is None for other tasks.

    robot: the one that `loop` commands, with `cameras` and seed 0. Its methods may be called from any thread.
    """

    def __init__(
        self,
        robot: StageRobot,
        *,
        make: Callable[..., StageRobot],
        loop: ControlLoop,
        cockpit: Cockpit,
        task: AlohaTask,
    ) -> None:
        self._robot, self._make, self._loop, self._cockpit = robot, make, loop, cockpit
        self._scene = SceneIn(task=task, seed=0)
        self._shown = robot.info.cameras
        self._building = threading.Lock()
        self.recorded: Callable[[], bool] = lambda: False  # then the scene and its cameras stay as they are

    @property
    def render_profile(self) -> RenderProfile:
        return self._robot.render_profile

    def scene(self) -> SceneOut | None:
        """None before the simulator runs."""
        robot, scene = self._robot, self._scene
        try:
            outcome = robot.outcome()
            instruction = robot.instruction
        except RobotError:
            return None
        return SceneOut(
            task=scene.task,
            pick=_pick(scene),
            seed=scene.seed,
            instruction=instruction,
            reward=outcome.reward,
            success=outcome.success,
            wrong=outcome.wrong,
        )

    def show(self, scene: SceneIn) -> None:
        """Reset to this task and seed. Raises BusyError while something commands the robot."""
        with self._building:
            self._refuse_busy()
            self._refuse_recorded()
            if (scene.task, scene.pick) == (self._scene.task, self._scene.pick):
                self._loop.between(lambda: self._reset(scene))
            else:
                robot = self._built(scene, self._robot.info.cameras, self._robot.render_profile)
                self._change_over(robot, self._begin_anew)
            self._scene = scene
            log.info("scene %s %s seed %d", scene.task, _pick(scene) or "", scene.seed)

    def fit(self, metadata: PolicyMetadata) -> None:
        """Give the scene the cameras, sizes and pictures that a policy was trained with, beside those of the page; the
        scene goes on as it is. Nothing happens where they are there. Raises RobotError for a camera it cannot have."""
        with self._building:
            cameras = cameras_for(metadata, self._shown)
            render = RenderProfile(metadata.render_profile or self._robot.render_profile)
            here = {(camera.name, camera.height, camera.width) for camera in self._robot.info.cameras}
            wanted = {(camera.name, camera.height, camera.width) for camera in cameras}
            if wanted <= here and render is self._robot.render_profile:
                return
            self._refuse_recorded()
            log.info("the scene gets the cameras %s", ", ".join(camera.name for camera in cameras))
            robot = self._built(self._scene, cameras, render)
            self._change_over(robot, lambda: robot.adopt(self._robot))

    def _reset(self, scene: SceneIn) -> None:
        self._begin_anew()
        self._robot.reset(scene.seed, wait=False)

    def _begin_anew(self) -> None:
        self._refuse_busy()
        self._loop.begin_anew()

    def _refuse_busy(self) -> None:
        if self._cockpit.now.mode in (Mode.POLICY, Mode.DRIVE):
            raise BusyError("something commands the robot; pause it or let go before the scene is changed")

    def _refuse_recorded(self) -> None:
        if self.recorded():
            raise BusyError("a recording is running; save or discard it before the scene or its cameras change")

    def _built(self, scene: SceneIn, cameras: tuple[CameraSpec, ...], render: RenderProfile) -> StageRobot:
        robot = self._make(task=scene.task, cameras=cameras, render=render, pick=_pick(scene))
        try:
            robot.connect()
            robot.reset(scene.seed)
        except BaseException:
            robot.disconnect()
            raise
        return robot

    def _change_over(self, robot: StageRobot, last: Callable[[], None]) -> None:
        """last: what is done in the control loop's thread before the new robot is commanded."""

        def job() -> LiveRobot:
            last()
            before = self._loop.swap(robot, task=str(getattr(robot, "task", "")) or None)
            self._robot = robot
            return before

        unused: LiveRobot = robot
        try:
            unused = self._loop.between(job)
        except (UserError, OSError):
            log.warning("the scene was not changed")
            raise
        finally:
            unused.disconnect()


def _pick(scene: SceneIn) -> PickColourOptions | None:
    return scene.pick if scene.task is AlohaTask.PICK_COLOUR else None
