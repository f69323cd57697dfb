"""Files that people write, which hold values by name: specs, options, settings. YAML, or JSON where the name ends so.

JSON is nearly YAML, but not quite: to YAML some characters that a JSON text may hold are line breaks (U+0085) or none
at all.
"""

import json
from pathlib import Path
from typing import Any

from dexvla.errors import UserError

MAX_YAML = 2**20  # bytes
_DEEPEST = 100  # what is nested deeper ends a process in the C reader
_MOST_VALUES = 2**20  # with those that anchors repeat
_LONGEST_WORD = 10_000  # characters without quotes: what they are is found out by arithmetic


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The values by their names. what: that is expected in the file, for people.

    Raises UserError for a file that cannot be read or holds something else.
    """
    is_json = path.suffix.lower() == ".json"
    try:
        if path.stat().st_size > MAX_YAML:
            raise UserError(f"{path}: {path.stat().st_size} bytes, at most {MAX_YAML} are read; expected {what}")
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if is_json else read_yaml(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UserError:
        raise
    except (ValueError, RecursionError) as error:  # what is no JSON, no YAML, and no UTF-8
        raise UserError(f"{path}: not {'JSON' if is_json else 'YAML'}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path}: expected {what}, found {type(found).__name__}")
    return found


def read_yaml(text: str) -> Any:
    """The value of a text from outside, by the C reader where it is there. Raises ValueError, in a sentence without
    its end, for what is no YAML, is longer than MAX_YAML, or makes more of itself than it holds."""
    import yaml

    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_YAML:
        raise ValueError(f"{size} bytes of YAML, at most {MAX_YAML} are read")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _look_through(yaml, text, loader)
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _look_through(yaml: Any, text: str, loader: Any) -> None:
    """Before anything is made of it: an alias stands for all that its anchor holds, again and again."""
    sizes: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = []  # anchor, and the values before it
    values = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"its alias *{event.anchor[:40]} stands for nothing that is before it and complete")
            values += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.implicit[0] and len(event.value) > _LONGEST_WORD:
                raise ValueError(f"it holds a value of {len(event.value)} characters without quotes")
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            values += 1
            sizes.pop(event.anchor, None)  # the same name may be given again
            open_parts.append((event.anchor, values - 1))
            if len(open_parts) > _DEEPEST:
                raise ValueError(f"it is nested more than {_DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_parts.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        if values > _MOST_VALUES:
            raise ValueError(f"its anchors repeat more than {_MOST_VALUES} values; write out what is needed")
