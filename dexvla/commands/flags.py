"""Flags of a command from the fields of specs: names, types, help and defaults stand on the fields alone.

    @flags_of(RecordSpec, leave_out={"cameras"})
    def record(out: ..., **given: Any) -> None: ...

`given` holds every flag by the name of its field; None where it was not given, so that a file's fields stay.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel

from dexvla.errors import UserError
from dexvla.mappings import read_mapping
from dexvla.robots.aloha_sim.plugin import ALOHA_SIM
from dexvla.spec import Spec
from dexvla.spec.fields import FormField, extra_of, form_fields, plain_type

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
    spec: type[BaseModel],
    *,
    leave_out: Collection[str] = (),
    before: str = "",
    tasks: bool = False,
    groups: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Gives the function a flag for each field of `spec` that holds one value. before: what its help begins with.

    tasks: also one for each option of the tasks that come with the program. groups: of a spec whose fields stand in
    groups, in the order of the help; then there is also a flag for each field of a spec inside this one, as
    --OUTER.INNER; in `given` it is OUTER__INNER, see `by_path`. names: flags that are called otherwise than their
    fields.
    """

    def give(function: F) -> F:
        signature = inspect.signature(function)
        kept = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        rest = [each for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD]
        fields = [field for field in form_fields(spec) if field.name not in leave_out]
        by_group = [(field.group, _flag(spec, field, before, flag=(names or {}).get(field.name))) for field in fields]
        if groups:
            by_group += _flags_inside(spec, leave_out)
            by_group.sort(key=lambda each: -1 if each[0] is None else groups.index(each[0]))
        new = [flag for _, flag in by_group]
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


def _flags_inside(spec: type[BaseModel], leave_out: Collection[str]) -> list[tuple[str | None, inspect.Parameter]]:
    """For the fields of the specs in this one, each with its group: that of the field around it if it has none."""
    new: list[tuple[str | None, inspect.Parameter]] = []
    for name, info in spec.model_fields.items():
        inner, _ = plain_type(info)
        if name in leave_out or not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            continue
        shown = name.replace("_", "-")
        for field in form_fields(inner):
            flag = f"--{shown}.{field.name.replace('_', '-')}"
            if field.kind == "flag":
                flag = f"{flag}/--no-{flag.removeprefix('--')}"
            group = field.group or extra_of(info).get("group")
            new.append((group, _flag(inner, field, "", parameter=f"{name}__{field.name}", flag=flag, group=group)))
    return new


def _flag(
    spec: type[BaseModel],
    field: FormField,
    before: str,
    *,
    parameter: str | None = None,
    flag: str | None = None,
    group: str | None = None,
) -> inspect.Parameter:
    kind, _ = plain_type(spec.model_fields[field.name])
    if get_origin(kind) is Literal:
        kind = type(get_args(kind)[0])  # the spec itself says which values there are
    # a field whose help is its unit alone is told by its label
    only_unit = field.help.lower() == (field.unit or "") and field.label.lower() not in field.help.lower()
    text = field.label if only_unit or not field.help else field.help
    unit = f", {field.unit}" if field.unit and field.unit not in text.lower() else ""
    default = "" if field.default in (None, "", False) else f" (default {field.default})"
    group = group or field.group
    option = typer.Option(
        *(() if flag is None else (flag,)),
        help=f"{before}{text}{unit}{default}",
        show_default=False,
        rich_help_panel=None if group is None else f"Settings: {group}",
    )
    return inspect.Parameter(
        parameter or field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def by_path(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, by the dotted path of their field."""
    return {name.replace("__", "."): value for name, value in given.items() if value is not None}


def put(fields: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted path. Raises UserError where the path leads through something that is no group."""
    *groups, last = path.split(".")
    target = fields
    for group in groups:
        if target.get(group) is None:  # also a group that a file leaves off
            target[group] = {}
        target = target[group]
        if not isinstance(target, dict):
            raise UserError(f"{path}: {group} is not a group of fields")
    target[last] = value


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
