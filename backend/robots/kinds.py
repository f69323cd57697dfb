"""Robots that set up tasks, as this installation has them: what demonstrations and evaluations may choose from."""

import logging
from functools import cache
from typing import TypeVar

from backend.core.errors import InvalidError
from backend.robots.schemas import RobotKindOut
from dexvla.errors import OptionsError, RobotError
from dexvla.robots.base import RobotInfo
from dexvla.robots.registry import (
    chosen,
    make_robot,
    make_task_robot,
    needs_no_options,
    robot_kind,
    robots,
    task_descriptions,
)
from dexvla.spec import CameraSpec, RenderProfile, TaskChoice

log = logging.getLogger("studio.robots")
C = TypeVar("C", bound=TaskChoice)


def name_of(kind: str) -> str:
    """For people, at the beginning of a sentence."""
    title = robot_kind(kind).title
    return f"The robot {kind}" if title is None else f"The {title}"


@cache
def kinds() -> tuple[RobotKindOut, ...]:
    """Those whose plug-in cannot be loaded are left out, and the log says why. The first is the default."""
    found = []
    for name in sorted(robots(), key=lambda each: (each != "aloha_sim", each)):
        if name == "aloha_sim_live":  # the same robot and tasks as aloha_sim
            continue
        try:
            if robot_kind(name).tasks is None:
                continue
            tasks, recovers = task_descriptions(name), robot_kind(name).tasks.recovers  # type: ignore[union-attr]
            # one that cannot be made without options of its place can be driven there, and not be recorded or evaluated
            needs_no_options(name)
        except Exception as error:  # of somebody's plug-in: it must not take the page with it
            log.warning("robot %s is left out: %s", name, error)
            continue
        title = robot_kind(name).title or name
        found.append(RobotKindOut(name=name, title=title, recovers=recovers, tasks=list(tasks)))
    return tuple(found)


def checked(kind: str, choice: C, *, recovers: bool = False) -> C:
    """The choice with all of its options. Raises InvalidError, at the field, for what the robot does not have."""
    known = next((each for each in kinds() if each.name == kind), None)
    if known is None:
        there = ", ".join(each.name for each in kinds())
        message = f"Unknown robot {kind!r}; these set up tasks here: {there}."
        raise InvalidError(message, fields={"robot": message})
    try:
        found = chosen(kind, choice)
        if recovers and not known.recovers:
            raise InvalidError(
                f"{name_of(kind)} shows no recoveries.", fields={"recovery": "this robot's expert shows none"}
            )
        return found
    except RobotError as error:
        field = "options" if isinstance(error, OptionsError) else "task"
        raise InvalidError(f"{str(error)[:1].upper()}{str(error)[1:]}.", fields={field: str(error)}) from error


def info_of(kind: str, choice: TaskChoice, cameras: tuple[CameraSpec, ...]) -> RobotInfo:
    """What the robot of a checked choice is with these cameras. Raises RobotError for one that it cannot have."""
    return make_task_robot(kind, choice, cameras=cameras, render=RenderProfile.FAST)[0].info


def can_have(kind: str, choice: TaskChoice, camera: CameraSpec) -> bool:
    """Whether the robot of a checked choice has such a camera."""
    try:
        info_of(kind, choice, (camera,))
    except RobotError:
        return False
    return True


def demonstration_cameras(kind: str, task: str) -> tuple[str, ...]:
    """Names of the cameras that demonstrations of a task are recorded with."""
    found = robot_kind(kind).tasks
    own = tuple(camera.name for camera in make_robot(kind).info.cameras)
    more = () if found is None else next(each.cameras for each in found.tasks if each.name == task)
    return (*own, *(name for name in more if name not in own))
