"""A hand that slides over a bench, 20 times a second: x, y and a gripper. Simulated with numpy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dexvla.episodes.format import StepSource
from dexvla.errors import RobotError
from dexvla.robots.base import (
    ArmTwist,
    Frame,
    Observation,
    RobotInfo,
    RobotKind,
    Task,
    TaskOutcome,
    TaskRobot,
)
from dexvla.spec import CameraSpec, RecoveryOptions, RenderProfile
from dexvla.spec.base import Spec

HZ = 20.0
NAMES = ("x", "y", "gripper")  # metres, metres, 0 closed .. 1 open
LOW = np.array([-0.3, -0.3, 0.0], np.float32)
HIGH = np.array([0.3, 0.3, 1.0], np.float32)
SPEED = np.array([0.4, 0.4, 2.0], np.float32)  # of what commands it, per second
STEP = 0.02  # metres of the hand at most in one step, whatever is commanded
NEAR = 0.02  # metres
MAX_STEPS = 120


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class ReachOptions(Spec):
    """What stands on a field here is a form in the page, a flag or --option of the commands, and the check of both."""

    colour: Colour = Field(Colour.RED, title="Target", description="Colour of the target", json_schema_extra={})
    distance: float = Field(
        0.15, ge=0.05, le=0.25, title="Distance", description="Of the target", json_schema_extra={"unit": "m"}
    )


@dataclass(frozen=True)
class Step:
    action: NDArray[np.float32]
    substep: str
    source: StepSource = StepSource.SCRIPTED


@dataclass(frozen=True)
class Shown:
    """What the expert did, to be played again with cameras."""

    seed: int
    steps: Sequence[Step]
    success: bool
    with_sources: bool = False

    @property
    def attributes(self) -> Mapping[str, str | float | bool]:
        return {}

    def prepare(self, robot: TaskRobot) -> None:
        robot.reset(self.seed)

    def apply(self, robot: TaskRobot, number: int) -> NDArray[np.float32]:
        return robot.act(self.steps[number].action)


class BenchArm:
    """task, options: see `ReachOptions`. bench: words that go into the instruction, as a site's file may set them."""

    def __init__(
        self,
        *,
        task: str = "reach",
        options: ReachOptions | None = None,
        cameras: tuple[CameraSpec, ...] = (CameraSpec(name="cam_top", height=48, width=64),),
        render: RenderProfile = RenderProfile.FAST,
        bench: str = "bench",
    ) -> None:
        unknown = [camera.name for camera in cameras if camera.name != "cam_top"]
        if unknown:
            raise RobotError(f"the bench arm has no camera {', '.join(unknown)}; it has cam_top")
        self.task, self.render_profile = task, render
        self._options, self._bench = options or ReachOptions(), bench
        self.info = RobotInfo(
            name="bench_arm",
            joint_names=NAMES,
            action_names=NAMES,
            action_low=LOW,
            action_high=HIGH,
            control_hz=HZ,
            simulated=True,
            cameras=cameras,
            max_velocity=SPEED,
            max_acceleration=SPEED * 10,
        )
        self.max_steps, self.max_reward = MAX_STEPS, 1.0
        self._place(0)
        self._connected = False

    @property
    def instruction(self) -> str:
        return f"Reach the {self._options.colour} target on the {self._bench}."

    @property
    def scene_attributes(self) -> Mapping[str, str | float | bool]:
        return {"colour": str(self._options.colour), "distance": self._options.distance}

    @property
    def target(self) -> NDArray[np.float32]:
        return self._target

    def connect(self) -> None:
        self._connected = True

    def disconnect(self) -> None:
        self._connected = False

    def reset(self, seed: int) -> Observation:
        self._place(seed)
        return self.observe()

    def observe(self, *, images: bool = True) -> Observation:
        if not self._connected:
            raise RobotError("the bench arm is not connected; call connect() first")
        frames = {
            camera.name: Frame(image=self._draw(camera), time=self._time) for camera in self.info.cameras if images
        }
        return Observation(time=self._time, qpos=self._qpos.copy(), qvel=self._qvel.copy(), frames=frames)

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        wanted = np.asarray(action, np.float32)
        if wanted.shape != LOW.shape or not np.isfinite(wanted).all():
            raise RobotError(f"the bench arm takes three finite numbers (x, y, gripper), got {action!r}")
        sent = np.clip(wanted, LOW, HIGH)
        moved = np.clip(sent - self._qpos, -STEP, STEP)
        moved[2] = sent[2] - self._qpos[2]
        self._qpos, self._qvel = self._qpos + moved, moved * np.float32(HZ)
        self._time += 1 / HZ
        self._success = self._success or self._near()
        return sent

    def outcome(self) -> TaskOutcome:
        return TaskOutcome(reward=float(self._success), success=self._success, held=self._near())

    def _near(self) -> bool:
        return bool(np.linalg.norm(self._qpos[:2] - self._target) < NEAR)

    def _place(self, seed: int) -> None:
        angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
        self._target = np.float32(self._options.distance) * np.array([np.cos(angle), np.sin(angle)], np.float32)
        self._qpos, self._qvel = np.array([0, 0, 1], np.float32), np.zeros(3, np.float32)
        self._time, self._success = 0.0, False

    def _draw(self, camera: CameraSpec) -> NDArray[np.uint8]:
        image = np.full((camera.height, camera.width, 3), 200, np.uint8)
        colour = (200, 30, 30) if self._options.colour is Colour.RED else (30, 30, 200)
        for place, paint in ((self._target, colour), (self._qpos[:2], (20, 20, 20))):
            column, row = ((place + 0.3) / 0.6 * (camera.width - 1, camera.height - 1)).astype(int)
            image[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = paint
        return image


class BenchTasks:
    tasks = (Task(name="reach", title="Reach the target", options=ReachOptions, dataset="Bench: reach"),)
    recovers = False

    def arguments(self, task: str, options: Any) -> dict[str, Any]:
        return {"task": task, "options": options}

    def demonstrate(self, robot: TaskRobot, seed: int, recovery: RecoveryOptions | None) -> Shown:
        assert isinstance(robot, BenchArm)
        robot.reset(seed)
        goal = np.array([*robot.target, 1], np.float32)
        steps = []
        while not robot.outcome().held and len(steps) < MAX_STEPS:
            steps.append(Step(goal, "Move to the target"))
            robot.act(goal)
        steps += [Step(np.array([*robot.target, 0], np.float32), "Close the gripper")] * 5
        for step in steps[-5:]:
            robot.act(step.action)
        return Shown(seed, steps, robot.outcome().success)


class BenchTeleop:
    """The hand's velocity in x and y; the gripper opens and closes."""

    why: str | None = None

    def release(self) -> None:
        pass

    def step(
        self, left: ArmTwist, right: ArmTwist, *, last_sent: NDArray[np.float32], measured: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        twist = right if any((*right.linear, right.gripper)) else left
        velocity = np.array([twist.linear[0], twist.linear[1], twist.gripper], np.float32)
        return np.clip(last_sent + velocity / np.float32(HZ), LOW, HIGH).astype(np.float32)


BENCH_ARM = RobotKind(make=BenchArm, tasks=BenchTasks(), teleop=lambda info: BenchTeleop(), arms=1, title="bench arm")
