"""The bytes of a file that is being uploaded: appended where the last ones ended, by whoever comes first.

How much there is of a file is its length, and nothing else: whichever process was killed, the next one reads it there.
The lock is held while a piece is written and never while one is waited for, so that a connection that hangs keeps
nobody from going on over another.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.core.errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class MovedError(Exception):
    """The file has `there` bytes, not as many as was taken for granted: another request has added some."""

    def __init__(self, there: int) -> None:
        super().__init__(f"there are {there} bytes")
        self.there = there


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Staged:
    """A file that is open for more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def append(self, offset: int, piece: bytes) -> int:
        """Write all of `piece` behind the first `offset` bytes, or nothing; returns what there is then.

        Raises MovedError, DiskFullError, OSError.
        """
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            there = self.size
            if there != offset:
                raise MovedError(there)
            try:
                left = memoryview(piece)
                while left:
                    left = left[os.pwrite(self._descriptor, left, offset + len(piece) - len(left)) :]
            except OSError as error:
                os.ftruncate(self._descriptor, there)
                if error.errno in _FULL:
                    raise DiskFullError(
                        f"The studio's disk is full. The {there} bytes that have arrived are kept; free some space "
                        "and go on."
                    ) from error
                raise
            return offset + len(piece)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def sync(self) -> None:
        os.fsync(self._descriptor)


@contextmanager
def open_staged(path: Path) -> Iterator[Staged]:
    """Raises FileNotFoundError where the upload's folder is gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield Staged(descriptor)
    finally:
        os.close(descriptor)
