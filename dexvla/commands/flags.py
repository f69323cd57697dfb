"""Flags of a command from the fields of specs: names, types, help and defaults stand on the fields alone.

    @flags_of(RecordSpec, leave_out={"cameras"})
    def record(out: ..., **given: Any) -> None: ...

`given` holds every flag by the name of its field; None where it was not given, so that a file's fields stay.
"""

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel

from dexvla.errors import UserError
from dexvla.mappings import read_mapping
from dexvla.robots.aloha_sim.plugin import ALOHA_SIM
from dexvla.spec import Spec
from dexvla.spec.fields import FormField, form_fields, plain_type

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=Spec)

TASK_OPTIONS = tuple(
    {name: None for task in (ALOHA_SIM.tasks.tasks if ALOHA_SIM.tasks else ()) for name in task.options.model_fields}
)
SpecFile = Annotated[
    Path | None, typer.Option("--spec", metavar="FILE", help="Fields of the spec as YAML or JSON; flags override them")
]
RobotOptions = Annotated[
    Path | None,
    typer.Option("--options", metavar="FILE", help="YAML or JSON file with what the robot is made with"),
]
TaskOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the task of any robot; may be given again"),
]


def flags_of(
    spec: type[BaseModel], *, leave_out: Collection[str] = (), before: str = "", tasks: bool = False
) -> Callable[[F], F]:
    """Gives the function a flag for each field of `spec` that holds one value. before: what its help begins with.

    tasks: also one for each option of the tasks that come with the program.
    """

    def give(function: F) -> F:
        signature = inspect.signature(function)
        kept = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        rest = [each for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD]
        new = [_flag(spec, field, before) for field in form_fields(spec) if field.name not in leave_out]
        if tasks and ALOHA_SIM.tasks is not None:
            for task in ALOHA_SIM.tasks.tasks:
                new += [_flag(task.options, field, f"{task.name}: ") for field in form_fields(task.options)]
        there = {each.name for each in kept}
        new = [each for each in new if each.name not in there]
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*kept, *new)]
        function.__signature__ = signature.replace(parameters=[*parameters, *rest])  # type: ignore[attr-defined]
        function.__annotations__.update({each.name: each.annotation for each in new})
        return function

    return give


def ready(function: F) -> F:
    """After the last `flags_of`: nothing is left that has no flag."""
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    function.__annotations__.pop("given", None)
    return function


def _flag(spec: type[BaseModel], field: FormField, before: str) -> inspect.Parameter:
    kind, _ = plain_type(spec.model_fields[field.name])
    unit = f", {field.unit}" if field.unit and field.unit not in field.help else ""
    default = "" if field.default in (None, "", False) else f" (default {field.default})"
    option = typer.Option(help=f"{before}{field.help}{unit}{default}", show_default=False)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def part_of(given: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Those of the flags that were given."""
    return {name: value for name, value in given.items() if name in names and value is not None}


def spec_file(path: Path | None) -> dict[str, Any]:
    """The fields in a file, YAML or JSON; none without a file. Raises UserError for one that cannot be read."""
    return {} if path is None else read_mapping(path, "the fields of a spec")


def task_options(before: dict[str, Any], given: dict[str, Any], named: list[str] | None) -> dict[str, Any]:
    """Options of the task: those of a file, then the flags of our own tasks, then --option NAME=VALUE."""
    import yaml

    options = {
        **before,
        **{name: getattr(value, "value", value) for name, value in part_of(given, TASK_OPTIONS).items()},
    }
    for each in named or []:
        name, separator, value = each.partition("=")
        if not separator:
            raise UserError(f"--option {each}: expected NAME=VALUE")
        try:
            options[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--option {each}: the value is not YAML: {' '.join(str(error).split())}") from error
    return options
