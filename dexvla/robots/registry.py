"""Robots by name. A package adds one with an entry point of the group `dexvla.robots`:

    [project.entry-points."dexvla.robots"]
    my_robot = "my_package.robot:MY_ROBOT"

The value is a `dexvla.robots.base.RobotKind`, or a callable that takes keyword options and returns a `Robot`.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from dexvla.errors import OptionsError, RobotError
from dexvla.mappings import read_mapping
from dexvla.robots.base import LiveRobot, Robot, RobotKind, Task, TaskRobot, TaskSet
from dexvla.robots.live import as_live, is_task_robot
from dexvla.spec import CameraSpec, RenderProfile, TaskChoice, first_error
from dexvla.spec.base import Spec
from dexvla.spec.fields import TaskDescription, form_fields

GROUP = "dexvla.robots"
C = TypeVar("C", bound=TaskChoice)

# Ours are found also where the package runs from a folder, without installed metadata.
_BUILT_IN = {
    "aloha_sim": "dexvla.robots.aloha_sim.plugin:ALOHA_SIM",
    "aloha_sim_live": "dexvla.robots.aloha_sim.plugin:ALOHA_SIM_LIVE",
    "replay": "dexvla.robots.replay:ReplayRobot",
}


def robots() -> dict[str, EntryPoint]:
    """Every known robot by name, sorted. Nothing is imported. A plug-in may not take the name of a built-in robot."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    found |= {name: EntryPoint(name, value, GROUP) for name, value in _BUILT_IN.items()}
    return dict(sorted(found.items()))


def robot_kind(name: str) -> RobotKind:
    """What is registered as `name`. Raises RobotError naming the known robots, or why a plug-in fails to load."""
    known = robots()
    if name not in known:
        raise RobotError(f"unknown robot {name!r}; known: {', '.join(known)}")
    try:
        found = known[name].load()
    except (ImportError, AttributeError) as error:
        raise RobotError(f"robot {name!r} ({known[name].value}) cannot be loaded: {error}") from error
    if isinstance(found, RobotKind):
        return found
    if not callable(found):
        raise RobotError(
            f"robot {name!r} ({known[name].value}) is neither a RobotKind nor a class or function that makes a robot"
        )
    return RobotKind(make=found)


def make_robot(name: str, **options: Any) -> Robot:
    """Make robot `name`, not connected yet. Raises RobotError for an unknown robot or an option it does not take."""
    robot: Robot = _made(name, robot_kind(name).make, options)
    return robot


def make_live(name: str, **options: Any) -> LiveRobot:
    """As `make_robot`, for a control loop that must not wait for cameras."""
    kind = robot_kind(name)
    return as_live(_made(name, kind.live or kind.make, options))


def make_task_robot(
    name: str,
    choice: TaskChoice,
    *,
    cameras: tuple[CameraSpec, ...],
    render: RenderProfile,
    options: Mapping[str, Any] | None = None,
) -> tuple[TaskRobot, TaskSet]:
    """A robot that sets up the chosen task, not connected yet, and the tasks that it is of.

    options: as a file or a spec gives them. Raises RobotError for a robot that sets up no tasks, or not this one, and
    for one that calls itself otherwise than it is registered.
    """
    tasks, kind = task_set(name), robot_kind(name)
    make = kind.make
    given = {**read_options(name, make, options or {}), **arguments(name, choice), "cameras": cameras, "render": render}
    robot = _made(name, make, given)
    if not is_task_robot(robot):
        raise RobotError(f"robot {name!r} has tasks, but what it makes is no TaskRobot")
    expected = kind.recorded_as or name
    if robot.info.name != expected:
        raise RobotError(
            f"robot {name!r} calls itself {robot.info.name!r} in RobotInfo.name; its episodes and checkpoints are "
            f"found again by that name, so it must be {expected!r} (or RobotKind.recorded_as says the other one)"
        )
    return robot, tasks


def needs_no_options(name: str) -> None:
    """Raise RobotError for a robot with tasks that cannot be made without options, as of the place where it stands, and
    as `make_task_robot`."""
    make_task_robot(name, TaskChoice(), cameras=(), render=RenderProfile.FAST)


def _made(name: str, make: Callable[..., Robot], options: Mapping[str, Any]) -> Any:
    _bind(name, make, options)
    return make(**options)


def _bind(name: str, make: Callable[..., Robot], options: Mapping[str, Any]) -> None:
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise RobotError(f"robot {name!r}: {error}") from error


# --- tasks ------------------------------------------------------------------------------------------------------------


def task_set(name: str) -> TaskSet:
    """The tasks of robot `name`. Raises RobotError where it sets up and judges none."""
    found = robot_kind(name).tasks
    if found is None:
        raise RobotError(f"robot {name!r} sets up and judges no tasks: it has neither scripted expert nor evaluation")
    return found


def task_of(name: str, choice: TaskChoice) -> tuple[Task, Spec]:
    """The chosen task of robot `name` and its options, checked. Raises RobotError, the option's name first."""
    tasks = task_set(name).tasks
    task = next((each for each in tasks if each.name == (choice.task or tasks[0].name)), None)
    if task is None:
        raise RobotError(f"robot {name!r} has no task {choice.task!r}; it has {', '.join(each.name for each in tasks)}")
    unknown = [option for option in choice.options if option not in task.options.model_fields]
    if unknown:
        there, asked = ", ".join(task.options.model_fields) or "none", ", ".join(unknown)
        owners = ", ".join(each.name for each in tasks if set(unknown) <= set(each.options.model_fields))
        if owners:
            are = "is an option" if len(unknown) == 1 else "are options"
            raise OptionsError(f"{asked} {are} of {owners}; {task.name} has {there}")
        raise OptionsError(f"{task.name} has no option {asked}; it has {there}")
    try:
        return task, task.options.model_validate(choice.options)
    except ValidationError as error:
        raise OptionsError(f"options of {task.name}: {first_error(error)}") from error


def chosen(name: str, choice: C) -> C:
    """The same choice with the task by name and all of its options, as it is to be stored. Raises as `task_of`."""
    task, options = task_of(name, choice)
    return choice.model_copy(update={"task": task.name, "options": options.model_dump(mode="json")})


def arguments(name: str, choice: TaskChoice) -> dict[str, Any]:
    """Keyword arguments of the robot's factory for the chosen task. Raises as `task_of`."""
    task, options = task_of(name, choice)
    return task_set(name).arguments(task.name, options)


def task_descriptions(name: str) -> tuple[TaskDescription, ...]:
    """The tasks of robot `name` as pages show them. Raises as `task_set`."""
    return tuple(
        TaskDescription(
            name=task.name,
            title=task.title,
            dataset=task.dataset,
            instructions=task.instructions,
            fields=form_fields(task.options),
        )
        for task in task_set(name).tasks
    )


# --- options ----------------------------------------------------------------------------------------------------------


def options_file(path: Path | None) -> dict[str, Any]:
    """What a file of robot options (YAML or JSON) holds. Raises UserError for one that cannot be read."""
    return {} if path is None else read_mapping(path, "the robot's options by name")


def read_options(name: str, make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file gives them -> as `make` takes them, by the types of its parameters.

    Raises RobotError, naming the option, for one that it does not take or whose value does not fit.
    """
    if not options:
        return {}
    model = _options_model(make)
    try:
        read = model.model_validate(dict(options))
    except ValidationError as error:
        there = ", ".join(model.model_fields) or "none"
        raise OptionsError(f"options of robot {name!r}: {first_error(error)}; it takes: {there}") from error
    return {option: getattr(read, option) for option in model.model_fields if option in read.model_fields_set}


def _options_model(make: Callable[..., Any]) -> type[BaseModel]:
    """Of the keyword parameters of `make`, each with its annotated type; those without one take anything."""
    source = getattr(make, "func", make)  # of functools.partial
    try:
        hints = get_type_hints(inspect.getattr_static(source, "__init__") if isinstance(source, type) else source)
    except (NameError, TypeError, AttributeError):
        hints = {}
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(make).parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            kind = hints.get(parameter.name, Any)
            fields[parameter.name] = (kind, None)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    try:
        return create_model("Options", __config__=config, **fields)
    except PydanticSchemaGenerationError:
        untyped: dict[str, Any] = {name: (Any, None) for name in fields}
        return create_model("Options", __config__=config, **untyped)
