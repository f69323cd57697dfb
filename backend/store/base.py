"""Where the bytes of episodes, versions, checkpoints and exports are: one small interface, two places for them.

A file's key is its place below a data folder (episodes/DATASET/EPISODE.hdf5), in every store, so that a bucket copied
to a disk is an ordinary data folder. Its row knows its sha256. Files never change once they are put.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backend.core.errors import UnavailableError


class StoreAwayError(UnavailableError):
    """The store does not answer, or does not let the studio in. Trying again later may do."""

    code = "store_away"


class StoreDamagedError(OSError):
    """What the store holds under a key is not what was put there."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file that was put. sha256: hex, of its bytes; None where an older studio did not know it (a folder alone)."""

    key: str
    sha256: str | None
    size: int


@dataclass(frozen=True, kw_only=True)
class Listed:
    key: str
    size: int
    changed_at: datetime


class Store(Protocol):
    """Methods raise StoreAwayError, FileNotFoundError for a key that is not there, OSError of this machine's disk."""

    name: str  # for people
    remote: bool  # files are read through a cache on this machine

    def put(self, source: Path, file: Stored) -> None:
        """Take `source` over: it is gone from its place after this, and `file` is whole in the store, or nothing is."""
        ...

    def share(self, source: Path, file: Stored) -> None:
        """As `put`, but `source` stays. In a folder it has to lie in its place already."""
        ...

    def path(self, file: Stored) -> Path:
        """A file of this machine with these bytes, to be opened within the minute and never changed.

        Whoever needs it for longer links it (see backend.store.hold). Raises StoreDamagedError.
        """
        ...

    def folder(self, name: str, files: Iterable[Stored]) -> Path:
        """A folder of this machine with these files under the last part of their keys. name: a hash that stands for all
        of them. Otherwise as `path`."""
        ...

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes start .. end - 1."""
        ...

    def size(self, key: str) -> int | None:
        """None: it is not there."""
        ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """Everything whose key begins with `prefix/`."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Also those that are gone already."""
        ...

    def problem(self, *, write: bool = False) -> str | None:
        """What is wrong with it, for people; None if it answers. write: also whether it takes files."""
        ...
