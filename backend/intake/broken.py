"""What ended the inspection of a file that it could not finish: a typed value from the process that looked at it."""

import errno
import re
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from dexvla.errors import EpisodeError

# HDF5 says neither by type nor by number that memory was refused, and its numbers of the system in its text alone.
_NO_MEMORY = "memory allocation failed"
_NUMBER = re.compile(r"\berrno = (\d+)")
_LONGEST = 200


class Why(StrEnum):
    DISK_FULL = "disk_full"
    TOO_LARGE = "too_large"  # what comes out of the file is larger than it may be
    MEMORY = "memory"
    TIME = "time"
    DAMAGED = "damaged"  # HDF5 cannot read it
    MISLEADING = "misleading"  # our reader stumbled: a part is not what its name says
    TALKATIVE = "talkative"  # the process said more than it could have to say
    CRASHED = "crashed"


_BY_NUMBER = {
    errno.ENOSPC: Why.DISK_FULL,
    errno.EDQUOT: Why.DISK_FULL,
    errno.EFBIG: Why.TOO_LARGE,
    errno.ENOMEM: Why.MEMORY,
}


@dataclass(frozen=True, kw_only=True)
class Broken:
    """what: of the error, for people."""

    why: Why
    what: str

    def to_json(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    @staticmethod
    def from_json(found: dict[str, Any]) -> "Broken":
        return Broken(why=Why(found["why"]), what=str(found["what"]))


def by_error(error: BaseException) -> Broken:
    """In the process that looks: of what it raised, or of what that came from."""
    for one in _chain(error):
        number = getattr(one, "errno", None) or _number(one)
        if isinstance(one, MemoryError) or (isinstance(one, (OSError, RuntimeError)) and _NO_MEMORY in str(one)):
            return Broken(why=Why.MEMORY, what=_text(one))
        if number in _BY_NUMBER:
            return Broken(why=_BY_NUMBER[number], what=_text(one))
    if isinstance(error, (OSError, EpisodeError)):
        return Broken(why=Why.DAMAGED, what=_text(error))
    return Broken(why=Why.MISLEADING, what=type(error).__name__)  # our reader's words about itself help nobody


def by_status(status: int) -> Broken:
    """Of a process that could not say it any more. status: as of subprocess."""
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return Broken(why=Why.TIME, what="")
    return Broken(why=Why.CRASHED, what=f"exit status {status}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _number(error: BaseException) -> int | None:
    found = _NUMBER.search(str(error)) if isinstance(error, (OSError, RuntimeError)) else None
    return None if found is None else int(found[1])


def _text(error: BaseException) -> str:
    last = (str(error).strip().splitlines() or [""])[-1][:_LONGEST]
    return f"{type(error).__name__}: {last}" if last else type(error).__name__
