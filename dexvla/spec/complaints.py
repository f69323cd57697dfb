"""What is wrong with a spec, in words for whoever wrote it."""

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from dexvla.spec.base import Spec

_SUGGESTIONS = 3
_ALIKE = 0.7  # difflib's ratio: a letter left out or two changed places


def first_error(error: ValidationError) -> str:
    """The first complaint of a failed validation, in one line: field, what is wrong, what was found.

    For a field that does not exist the nearest that do.
    """
    first = error.errors()[0]
    # pydantic puts the kind of expert between the names, which is no field
    place = ".".join(str(part) for part in first["loc"] if part not in ("scaledp", "unet"))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    if not place:  # about several fields at once: the message names them
        return message + more
    found = "" if first["type"] == "missing" else f"; found {str(first['input'])[:80]!r}"
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
        if near := _nearest(place, error.title):
            found += f"; did you mean {' or '.join(near)}?"
    return f"{place}: {message}{found}{more}"


def _nearest(place: str, title: str) -> list[str]:
    """Fields of the spec `title` whose names are most like that of `place`, with their groups."""
    kind = next((one for one in _specs(Spec) if one.__name__ == title), None)
    if kind is None:
        return []
    schema = kind.model_json_schema()
    name = place.rpartition(".")[2]
    paths = {path: path.rpartition(".")[2] for path in _paths(schema, schema, "")}
    begun = sorted(known for known in set(paths.values()) if known.startswith(f"{name}_"))
    close = difflib.get_close_matches(name, set(paths.values()), n=_SUGGESTIONS, cutoff=_ALIKE)
    wanted = list(dict.fromkeys([*begun, *close]))[:_SUGGESTIONS]
    return [path for known in wanted for path, last in paths.items() if last == known][:_SUGGESTIONS]


def _specs(kind: type[Spec]) -> Iterator[type[Spec]]:
    for one in kind.__subclasses__():
        yield one
        yield from _specs(one)


def _paths(schema: dict[str, Any], node: dict[str, Any], before: str) -> Iterator[str]:
    """Dotted names of all fields of a JSON schema; no spec contains itself."""
    for name, field in node.get("properties", {}).items():
        yield before + name
        for part in (field, *field.get("anyOf", ()), *field.get("oneOf", ())):
            if "$ref" in part:
                yield from _paths(schema, schema["$defs"][part["$ref"].rpartition("/")[2]], f"{before}{name}.")
