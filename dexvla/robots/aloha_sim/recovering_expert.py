"""An expert that does a task although things go wrong."""

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.errors import RobotError
from dexvla.robots.aloha_sim.driver import AlohaSim
from dexvla.robots.aloha_sim.hands import Hands, Steps
from dexvla.robots.aloha_sim.ik import SIDES
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovery import Course, Mishaps, Moment
from dexvla.robots.aloha_sim.recovery_tasks import SCRIPTS, things
from dexvla.robots.aloha_sim.scene import START_POSE, normalise_gripper
from dexvla.spec import RecoveryOptions

_NOISE_STEPS = 10.0  # over which the noise forgets
_NEAR_NOISE = 0.25  # share of the noise where a hand works on an object


class RecoveringExpert:
    """Does `task` from whatever state it finds. The same seed and state give the same demonstration.

    mishaps: instead of those that the seed draws. Call `begin`, then act on what `step` says until it says None.
    """

    def __init__(
        self, task: AlohaTask, seed: int, options: RecoveryOptions | None = None, *, mishaps: Mishaps | None = None
    ) -> None:
        self.task, self.seed, self.options = task, seed, options or RecoveryOptions()
        self._mishaps = mishaps
        self._course: Course
        self._script: Steps

    @property
    def happened(self) -> tuple[str, ...]:
        """The mishaps so far."""
        return tuple(self._course.happened)

    def begin(self, robot: AlohaSim) -> None:
        """Look at the robot as it is now. Raises RobotError for another task's."""
        if robot.task is not self.task:
            raise RobotError(f"the expert is for {self.task}, the robot is set up for {robot.task}")
        random = np.random.default_rng([self.seed, 0xA10B])
        drawn = Mishaps.drawn(random, self.options)
        hands = Hands(robot, things(robot), tempo=float(random.uniform(1.0, self.options.fastest)))
        self._course = Course(robot=robot, random=random, hands=hands, mishaps=self._mishaps or drawn)
        self._noise = np.zeros(14)
        self._script = SCRIPTS[self.task](self._course)

    def step(self) -> Moment | None:
        """The next step, from the robot's present state; None when the task is done.

        Raises RobotError if an object lies where no arm reaches it.
        """
        course = self._course
        course.hands.look()
        shove = next(course.shoves, None)
        course.shoving = shove is not None
        if next(self._script, self) is self:
            return None
        action = course.hands.action()
        noise = self._next_noise()
        if self.task is AlohaTask.PICK_COLOUR:  # the left arm is at rest, to the bit
            action[:7] = [*START_POSE[:6], normalise_gripper(START_POSE[6])]
            noise[:7] = 0.0
        return Moment(
            action=action,
            sent=(action + noise).astype(np.float32),
            substep=course.joined(course.substeps),
            source=StepSource.DISTURBANCE if course.astray or shove is not None else StepSource.SCRIPTED,
            shove=shove,
        )

    def _next_noise(self) -> NDArray[np.float64]:
        """(14,) radians: slow, smaller where a hand works on an object, none on the grippers."""
        course, keep = self._course, np.exp(-1 / _NOISE_STEPS)
        share = np.repeat([_NEAR_NOISE if side in course.hands.near else 1.0 for side in SIDES], 7)
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * course.random.standard_normal(14)
        noise = self.options.noise * share * self._noise
        noise[[6, 13]] = 0.0
        return noise
