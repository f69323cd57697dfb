"""Robots by name. A package adds one with an entry point of the group `dexvla.robots`:

    [project.entry-points."dexvla.robots"]
    my_robot = "my_package.robot:MyRobot"

The value is a callable that takes keyword options and returns a `dexvla.robots.base.Robot`.
"""

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dexvla.errors import RobotError
from dexvla.robots.base import Robot
from dexvla.spec import AlohaTask, PickColourOptions

GROUP = "dexvla.robots"

# Ours are found also where the package runs from a folder, without installed metadata.
_BUILT_IN = {
    "aloha_sim": "dexvla.robots.aloha_sim:AlohaSim",
    "aloha_sim_live": "dexvla.robots.aloha_sim.live:LiveAlohaSim",
    "replay": "dexvla.robots.replay:ReplayRobot",
}


def robots() -> dict[str, EntryPoint]:
    """Every known robot by name, sorted. Nothing is imported. A plug-in may not take the name of a built-in robot."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    found |= {name: EntryPoint(name, value, GROUP) for name, value in _BUILT_IN.items()}
    return dict(sorted(found.items()))


def robot_factory(name: str) -> Callable[..., Robot]:
    """The factory registered as `name`. Raises RobotError naming the known robots, or why a plug-in fails to load."""
    known = robots()
    if name not in known:
        raise RobotError(f"unknown robot {name!r}; known: {', '.join(known)}")
    try:
        factory = known[name].load()
    except (ImportError, AttributeError) as error:
        raise RobotError(f"robot {name!r} ({known[name].value}) cannot be loaded: {error}") from error
    if not callable(factory):
        raise RobotError(f"robot {name!r} ({known[name].value}) is not a class or function that makes a robot")
    return factory  # type: ignore[no-any-return]


def task_options(task: AlohaTask, pick: PickColourOptions) -> dict[str, Any]:
    """The options that a task of the simulated ALOHA has of its own, for `make_robot`."""
    return {"pick": pick} if task is AlohaTask.PICK_COLOUR else {}


def make_robot(name: str, **options: Any) -> Robot:
    """Make robot `name`, not connected yet. Raises RobotError for an unknown robot or an option it does not take."""
    factory = robot_factory(name)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise RobotError(f"robot {name!r}: {error}") from error
    return factory(**options)
