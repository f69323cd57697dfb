"""The scene of a simulated robot: which task and seed it shows, and through which cameras.

Whoever calls waits for the second or two that a new scene takes to build; the control loop does not: it commands the
old one until the new one is ready, and changes over between two steps.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dexvla.act.base import PolicyMetadata
from dexvla.act.rollout import cameras_for
from dexvla.errors import RobotError, UserError
from dexvla.live.messages import Mode, Progress, SceneIn, SceneOut
from dexvla.robots.base import Adopting, LiveRobot, LiveTaskRobot
from dexvla.robots.registry import arguments, chosen
from dexvla.spec import CameraSpec, RenderProfile
from worker.robot.arbiter import Arbiter, BusyError
from worker.robot.control import ControlLoop
from worker.robot.sources import CommandSource

log = logging.getLogger("studio.robot")

_TYPICAL_SECONDS = 3.0  # to build a scene


class Stage:
    """kind: the robot's registered name, whose tasks there are. make: gives a robot that is not connected yet, from the
    arguments of a task, `cameras` and `render`.

    robot: the one that `loop` commands, showing seed 0 of `scene`. Its methods may be called from any thread.
    """

    def __init__(
        self,
        robot: LiveTaskRobot,
        *,
        kind: str,
        make: Callable[..., LiveTaskRobot],
        loop: ControlLoop,
        arbiter: Arbiter,
        scene: SceneIn,
    ) -> None:
        self._robot, self._make, self._loop, self._arbiter = robot, make, loop, arbiter
        self._kind, self._scene = kind, chosen(kind, scene)
        self._shown = robot.info.cameras
        self._building = threading.Lock()
        self._trouble: str | None = None  # of telling how the task stands, as it was last logged
        self._progress: tuple[float, int, str | None] | None = None  # begun, attempt, trouble of the one before
        self.recorded: Callable[[], bool] = lambda: False  # then the scene and its cameras stay as they are

    @property
    def render_profile(self) -> RenderProfile:
        return self._robot.render_profile

    def scene(self) -> SceneOut | None:
        """None before the simulator runs."""
        robot, scene = self._robot, self._scene
        try:
            outcome = robot.outcome()
            told = SceneOut(
                task=scene.task,
                options=scene.options,
                seed=scene.seed,
                instruction=robot.instruction,
                reward=outcome.reward,
                success=outcome.success,
                wrong=outcome.wrong,
            )
        except RobotError:
            return None
        except Exception as error:  # a defect of a plug-in: pages are told of it, and of all else as before
            trouble = _said(self._kind, "cannot tell how its task stands", error)
            if trouble != self._trouble:
                log.error("%s", trouble, exc_info=True)
            self._trouble = trouble
            return SceneOut(
                task=scene.task,
                options=scene.options,
                seed=scene.seed,
                instruction="",
                reward=0.0,
                success=False,
                trouble=trouble,
            )
        self._trouble = None
        return told

    @property
    def building(self) -> Progress | None:
        """A scene that is being built."""
        progress = self._progress
        if progress is None:
            return None
        begun, attempt, trouble = progress
        return Progress(
            phase="Setting up the scene",
            seconds=round(time.monotonic() - begun, 1),
            typical=_TYPICAL_SECONDS,
            attempt=attempt,
            trouble=trouble,
        )

    def check(self, scene: SceneIn) -> None:
        """Raise RobotError for a task or an option that the robot does not have."""
        chosen(self._kind, scene)

    def show(self, scene: SceneIn) -> None:
        """Reset to this task and seed. Raises BusyError while something commands the robot, RobotError for a task or an
        option that the robot does not have."""
        scene = chosen(self._kind, scene)
        with self._building:
            self._refuse_busy()
            self._show(scene, self._robot.info.cameras, self._robot.render_profile, self._refuse_busy)

    def set_up(self, scene: SceneIn, metadata: PolicyMetadata | None, *, source: CommandSource) -> None:
        """As `show` and `fit` at once, for a policy that commands the robot and waits for its scene.

        metadata: None gives the scene the cameras that are there. Raises BusyError where `source` has been put aside,
        RobotError as `show`.
        """
        scene = chosen(self._kind, scene)

        def refuse_others() -> None:
            if self._arbiter.now.source is not source:
                raise BusyError("the policy was paused or ended before its scene was ready")

        with self._building:
            refuse_others()
            cameras, render = self._robot.info.cameras, self._robot.render_profile
            if metadata is not None and not self._fits(metadata):
                cameras, render = self._needed(metadata)
            self._show(scene, cameras, render, refuse_others)

    def _show(
        self, scene: SceneIn, cameras: tuple[CameraSpec, ...], render: RenderProfile, refuse: Callable[[], None]
    ) -> None:
        """refuse: raises BusyError where something is in the way by now."""

        def begin_anew() -> None:
            refuse()
            self._loop.begin_anew()

        def reset() -> None:
            begin_anew()
            with _told(self._kind, "cannot set the scene up"):
                self._robot.reset(scene.seed, wait=False)

        self.refuse_recorded()
        here = (self._scene.task, self._scene.options, self._robot.info.cameras, self._robot.render_profile)
        if (scene.task, scene.options, cameras, render) == here:
            self._loop.between(reset)
        else:
            self._change_over(self._built(scene, cameras, render), begin_anew)
        self._scene = scene
        log.info("scene %s %s seed %d", scene.task, scene.options or "", scene.seed)

    def fit(self, metadata: PolicyMetadata) -> None:
        """Give the scene the cameras, sizes and rendering that a policy was trained with, beside those of the page; the
        scene goes on as it is, or begins anew on a robot that cannot do this. Nothing happens where they are there.
        Raises RobotError for a camera it cannot have."""
        with self._building:
            if self._fits(metadata):
                return
            cameras, render = self._needed(metadata)
            self.refuse_recorded()
            log.info("the scene gets the cameras %s", ", ".join(camera.name for camera in cameras))
            robot = self._built(self._scene, cameras, render)

            def go_on() -> None:
                if isinstance(robot, Adopting):
                    robot.adopt(self._robot)
                else:
                    self._loop.begin_anew()

            self._change_over(robot, go_on)

    def _needed(self, metadata: PolicyMetadata) -> tuple[tuple[CameraSpec, ...], RenderProfile]:
        """The policy's cameras beside those of the page, and how they are rendered."""
        render = RenderProfile(metadata.render_profile or self._robot.render_profile)
        return cameras_for(metadata, self._shown), render

    def _fits(self, metadata: PolicyMetadata) -> bool:
        cameras, render = self._needed(metadata)
        here = {(camera.name, camera.height, camera.width) for camera in self._robot.info.cameras}
        wanted = {(camera.name, camera.height, camera.width) for camera in cameras}
        return wanted <= here and render is self._robot.render_profile

    def _refuse_busy(self) -> None:
        if self._arbiter.now.mode in (Mode.POLICY, Mode.DRIVE):
            raise BusyError("something commands the robot; pause it or let go before the scene is changed")

    def refuse_recorded(self) -> None:
        """Raise BusyError while the scene and its cameras have to stay as they are."""
        if self.recorded():
            raise BusyError("a recording is running; save or discard it before the scene or its cameras change")

    def _built(self, scene: SceneIn, cameras: tuple[CameraSpec, ...], render: RenderProfile) -> LiveTaskRobot:
        """Raises RobotError when it failed twice."""
        begun = time.monotonic()
        self._progress = begun, 1, None
        try:
            try:
                return self._build(scene, cameras, render)
            except RobotError as error:
                log.warning("the scene is built a second time: %s", error)
                self._progress = begun, 2, str(error)
                return self._build(scene, cameras, render)
        finally:
            self._progress = None

    def _build(self, scene: SceneIn, cameras: tuple[CameraSpec, ...], render: RenderProfile) -> LiveTaskRobot:
        """Raises RobotError whatever the plug-in raises."""
        with _told(self._kind, "cannot be made"):
            robot = self._make(**arguments(self._kind, scene), cameras=cameras, render=render)
        try:
            with _told(self._kind, "cannot set the scene up"):
                self._refuse_other_joints(robot)
                robot.connect()
                robot.reset(scene.seed)
        except BaseException:
            robot.disconnect()
            raise
        return robot

    def _refuse_other_joints(self, robot: LiveTaskRobot) -> None:
        """What commands, limits and records the robot was made for its joints, which stay while it runs."""
        now, then = self._robot.info, robot.info
        if (now.joint_names, now.action_names) != (then.joint_names, then.action_names):
            raise RobotError(
                f"with these options {self._kind} has other joints ({', '.join(then.joint_names)}) than it runs with "
                f"({', '.join(now.joint_names)}); start its host with that scene"
            )

    def _change_over(self, robot: LiveTaskRobot, last: Callable[[], None]) -> None:
        """last: what is done in the control loop's thread before the new robot is commanded."""

        def job() -> LiveRobot:
            last()
            before = self._loop.swap(robot, task=str(robot.task))
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


@contextmanager
def _told(kind: str, what: str) -> Iterator[None]:
    """Whatever a plug-in raises inside becomes a RobotError that says so; what is meant for people stays as it is."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        log.error("%s %s", kind, what, exc_info=True)
        raise RobotError(_said(kind, what, error)) from error


def _said(kind: str, what: str, error: Exception) -> str:
    return f"{kind} {what}, which is a defect of its plug-in: {type(error).__name__}: {str(error)[:200]}"
