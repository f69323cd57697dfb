"""The simulated ALOHA as the registry knows it: its two faces, its tasks, and how a hand drives it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import demonstrations
from dexvla.robots.aloha_sim.driver import AlohaSim
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions
from dexvla.robots.aloha_sim.pick_colour import COLOURS
from dexvla.robots.aloha_sim.recovery import Moment
from dexvla.robots.aloha_sim.tasks import INSTRUCTIONS
from dexvla.robots.aloha_sim.teleop import AlohaTeleop
from dexvla.robots.base import RobotInfo, RobotKind, Task, TaskRobot
from dexvla.spec import RecoveryOptions


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A `Demonstration`, as `dexvla.robots.base` wants it."""

    seed: int
    what: demonstrations.Demonstration
    recovery: RecoveryOptions | None

    @property
    def steps(self) -> Sequence[Moment]:
        return self.what.moments

    @property
    def success(self) -> bool:
        return self.what.success

    @property
    def with_sources(self) -> bool:
        return self.recovery is not None

    @property
    def attributes(self) -> Mapping[str, str | float | bool]:
        """What went wrong on purpose, and how far what was executed strays from the actions."""
        if self.recovery is None:
            return {}
        return {
            "mishaps": ", ".join(self.what.mishaps),
            "wide_start": bool(self.what.before),
            "execution_noise": self.recovery.noise,
        }

    def prepare(self, robot: TaskRobot) -> None:
        demonstrations.prepare(_simulated(robot), self.seed, self.what.before)

    def apply(self, robot: TaskRobot, number: int) -> NDArray[np.float32]:
        return demonstrations.apply(_simulated(robot), self.what.moments[number])


class AlohaTasks:
    tasks = (
        Task(
            name=AlohaTask.TRANSFER_CUBE.value,
            title="Transfer the cube",
            dataset="Demo: transfer the cube",
            instructions=(INSTRUCTIONS[AlohaTask.TRANSFER_CUBE],),
        ),
        Task(
            name=AlohaTask.INSERTION.value,
            title="Insert the peg",
            dataset="Demo: insertion",
            instructions=(INSTRUCTIONS[AlohaTask.INSERTION],),
        ),
        Task(
            name=AlohaTask.PICK_COLOUR.value,
            title="Pick the named cube",
            options=PickColourOptions,
            dataset="Demo: pick a colour",
            cameras=("cam_table",),  # what it is about is small in the published views
            instructions=tuple(f"Pick up the {colour} cube" for colour in COLOURS),
        ),
    )
    recovers = True

    def arguments(self, task: str, options: Any) -> dict[str, Any]:
        pick = {"pick": options} if isinstance(options, PickColourOptions) else {}
        return {"task": AlohaTask(task), **pick}

    def demonstrate(self, robot: TaskRobot, seed: int, recovery: RecoveryOptions | None) -> Shown:
        what = demonstrations.demonstrate(_simulated(robot), seed, recovery)
        return Shown(seed=seed, what=what, recovery=recovery)


def _simulated(robot: TaskRobot) -> AlohaSim:
    if not isinstance(robot, AlohaSim):
        raise RobotError(
            f"the scripted expert needs aloha_sim, which waits for its cameras; found {type(robot).__name__}"
        )
    return robot


def _teleop(info: RobotInfo) -> AlohaTeleop:
    return AlohaTeleop(control_hz=info.control_hz)


_LIVE = partial(LiveAlohaSim, overview=True)
_TASKS = AlohaTasks()
_TITLE = "simulated ALOHA"
ALOHA_SIM = RobotKind(make=AlohaSim, live=_LIVE, tasks=_TASKS, teleop=_teleop, title=_TITLE)
ALOHA_SIM_LIVE = RobotKind(
    make=LiveAlohaSim, live=_LIVE, tasks=_TASKS, teleop=_teleop, title=_TITLE, recorded_as="aloha_sim"
)
