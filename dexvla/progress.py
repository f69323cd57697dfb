"""How far a command is, for another program: lines of JSON in the file that DEXVLA_PROGRESS names."""

import os
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from dexvla.spec.base import Spec

VARIABLE = "DEXVLA_PROGRESS"
READING = "reading"  # what a command does before it does what it is for; does not count as progress of that
_TAIL_BYTES = 8192


class ProgressLine(Spec):
    """{"what": "recording", "done": 2, "total": 5, "note": "episode_1.hdf5"}. what: in one or two words."""

    what: str
    done: int = Field(ge=0)
    total: int = Field(ge=0)
    note: str = ""

    @property
    def text(self) -> str:
        return ", ".join(filter(None, (self.what, self.note)))


def tell(line: ProgressLine) -> None:
    """Append the line, if somebody follows. A full disk is nothing to stop the work for."""
    path = os.environ.get(VARIABLE)
    if path:
        with suppress(OSError), open(path, "ab", buffering=0) as file:
            file.write(line.model_dump_json().encode() + b"\n")


def last_told(path: Path) -> ProgressLine | None:
    """The last whole line in the file; None where nothing was told yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with suppress(ValidationError):  # half a line: it is being written
            return ProgressLine.model_validate_json(line)
    return None
