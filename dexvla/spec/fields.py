"""The fields of a spec as a form or a command line shows them: what stands on the class, in one shape.

A field's `title` is its label and its `description` the help; json_schema_extra may have `labels` (of the choices),
`unit`, `group`, `place` (among the fields of a long form that are shown first), `said` (in a line of text, that a flag
is set), and `demonstrations` (another default for demonstrations, None: not asked for them).
"""

from enum import Enum
from math import ceil, floor
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from dexvla.spec.base import Spec

Value = bool | int | float | str | None


class Choice(Spec):
    """One of an enumeration's values. label: for people."""

    value: str
    label: str


class FormField(Spec):
    """kind: a flag is true or false, a choice one of `choices`. default: None where there is none.

    low, high: ends of a number's range that it may have itself; above, below: those that it may not. All in units of
    the value, and None where there is none. demonstrations: the default where demonstrations are
    recorded; in_demonstrations: whether it is asked for there.
    """

    name: str
    label: str
    help: str
    kind: Literal["flag", "choice", "whole", "number", "text"]
    default: Value
    optional: bool = Field(description="May be left empty")
    choices: tuple[Choice, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str | None = None
    group: str | None = None
    said: str | None = Field(None, description="How a line of text says that a flag is set")
    demonstrations: Value = None
    in_demonstrations: bool = True


def form_fields(model: type[BaseModel]) -> tuple[FormField, ...]:
    """The fields that hold one value each, in order; groups and lists are left out."""
    return tuple(found for name, info in model.model_fields.items() if (found := _field(name, info)) is not None)


def plain_type(info: FieldInfo) -> tuple[Any, bool]:
    """A field's type without None, and whether None is allowed."""
    kind = info.annotation
    if get_origin(kind) in (Union, UnionType):
        kinds = [each for each in get_args(kind) if each is not NoneType]
        return (kinds[0] if len(kinds) == 1 else kind), len(kinds) < len(get_args(kind))
    return kind, False


def extra_of(info: FieldInfo) -> dict[str, Any]:
    """What stands on a field for those who show it, beside label and help."""
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def label_of(name: str, info: FieldInfo) -> str:
    return info.title or name.replace("_", " ").capitalize()


def _field(name: str, info: FieldInfo) -> FormField | None:
    kind, optional = plain_type(info)
    extra = extra_of(info)
    choices: tuple[Choice, ...] = ()
    if kind is bool:
        what = "flag"
    elif isinstance(kind, type) and issubclass(kind, Enum):
        what = "choice"
        labels = extra.get("labels", {})
        choices = tuple(
            Choice(value=str(each.value), label=labels.get(each.value, str(each.value).replace("_", " ")))
            for each in kind
        )
    elif get_origin(kind) is Literal:
        what = "choice"
        choices = tuple(Choice(value=str(each), label=str(each)) for each in get_args(kind))
    elif kind is int:
        what = "whole"
    elif kind is float:
        what = "number"
    elif kind is str:
        what = "text"
    else:
        return None
    default = _value(None if info.is_required() else info.get_default(call_default_factory=True))
    return FormField(
        name=name,
        label=label_of(name, info),
        help=info.description or "",
        kind=what,
        default=default,
        optional=optional,
        choices=choices,
        **_range(info, whole=kind is int),
        unit=extra.get("unit"),
        group=extra.get("group"),
        said=extra.get("said"),
        demonstrations=extra.get("demonstrations", default),
        in_demonstrations=extra.get("demonstrations", default) is not None or default is None,
    )


def _value(value: Any) -> Value:
    plain: Value = value.value if isinstance(value, Enum) else value
    return plain


def _range(info: FieldInfo, *, whole: bool) -> dict[str, float]:
    """The ends of the range of its value, by their names in FormField. whole: whole numbers have a first and a last."""
    found: dict[str, float] = {}
    for rule in info.metadata:
        for kind, attribute, name in _ENDS:
            if isinstance(rule, kind):
                found[name] = float(getattr(rule, attribute))
    if whole and "above" in found:
        found["low"] = floor(found.pop("above")) + 1.0
    if whole and "below" in found:
        found["high"] = ceil(found.pop("below")) - 1.0
    return found


_ENDS = ((Ge, "ge", "low"), (Gt, "gt", "above"), (Le, "le", "high"), (Lt, "lt", "below"))


class TaskDescription(Spec):
    """A robot's task as pages show it. fields: of its options. instructions: examples to choose from."""

    name: str
    title: str
    dataset: str | None = Field(None, description="Proposed name of a dataset of its demonstrations")
    instructions: tuple[str, ...] = ()
    fields: tuple[FormField, ...] = ()
