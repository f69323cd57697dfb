"""How far a command is and why it failed, for another program: lines of JSON in the file that DEXVLA_PROGRESS names."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from dexvla.errors import OutOfMemoryError
from dexvla.spec.base import Spec

VARIABLE = "DEXVLA_PROGRESS"
READING = "reading"  # what a command does before it does what it is for; does not count as progress of that
_TAIL_BYTES = 32_768
_MAX_MESSAGE = 2000
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What other people's code says where it hands no number on: safetensors, DataLoader's workers; torch's allocators.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded")
_MEMORY_WORDS = ("out of memory", "can't allocate memory")


class ProgressLine(Spec):
    """{"what": "recording", "done": 2, "total": 5, "note": "episode_1.hdf5"}. what: in one or two words."""

    what: str
    done: int = Field(ge=0)
    total: int = Field(ge=0)
    note: str = ""

    @property
    def text(self) -> str:
        return ", ".join(filter(None, (self.what, self.note)))


class Cause(StrEnum):
    """refused: what was asked for cannot be done, and would not be a second time. defect: nobody foresaw it."""

    REFUSED = "refused"
    DISK_FULL = "disk_full"
    MEMORY = "memory"
    DEFECT = "defect"


class FailureLine(Spec):
    """{"failed": "refused", "message": "data/x: no such folder"}: the last that a command says.

    advice: what would go better; empty where the command does not know, or has said it in the message.
    """

    failed: Cause
    message: str
    advice: str = ""


_Line: TypeAdapter[ProgressLine | FailureLine] = TypeAdapter(ProgressLine | FailureLine)


def tell(line: ProgressLine | FailureLine) -> None:
    """Append the line, if somebody follows. A full disk is nothing to stop the work for."""
    path = os.environ.get(VARIABLE)
    if path:
        with suppress(OSError), open(path, "ab", buffering=0) as file:
            file.write(line.model_dump_json().encode() + b"\n")


def tell_failure(error: BaseException, message: str | None = None) -> None:
    """message: what people are told of it; None for an error that nobody foresaw."""
    chain = list(_chain(error))
    if any(map(_says_full, chain)):
        failed = Cause.DISK_FULL
    elif isinstance(error, OutOfMemoryError):
        failed = Cause.MEMORY
    elif message is not None:
        failed = Cause.REFUSED
    else:
        failed = Cause.MEMORY if any(map(says_no_memory, chain)) else Cause.DEFECT
    if message is None:
        message = " ".join("".join(traceback.format_exception_only(error)).split())
    # a path may hold bytes that are no text
    message = message[:_MAX_MESSAGE].encode(errors="replace").decode()
    advice = error.advice if isinstance(error, OutOfMemoryError) else ""
    tell(FailureLine(failed=failed, message=message, advice=advice))


def last_progress(path: Path) -> ProgressLine | None:
    """The last progress in the file; None where none was told yet."""
    return next((line for line in reversed(_lines(path)) if isinstance(line, ProgressLine)), None)


def first_failure(path: Path) -> FailureLine | None:
    """Why the command failed. Of several processes the first that failed counts: the others failed because of it."""
    return next((line for line in _lines(path) if isinstance(line, FailureLine)), None)


def _lines(path: Path) -> list[ProgressLine | FailureLine]:
    """The last whole lines in the file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            texts = file.read().splitlines()
    except FileNotFoundError:
        return []
    lines = []
    for text in texts:
        with suppress(ValidationError):  # half a line: it is being written, or the tail begins in it
            lines.append(_Line.validate_json(text))
    return lines


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from."""
    seen = set()  # other people's errors may go in a circle
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(word in str(error) for word in _FULL_WORDS)


def says_no_memory(error: BaseException) -> bool:
    """Whether the error is about memory, whoever's allocator raised it."""
    if isinstance(error, (MemoryError, getattr(sys.modules.get("torch"), "OutOfMemoryError", MemoryError))):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)
