"""The lock of a data folder: one studio at a time works on it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from backend.folders import DataFolder
from dexvla.errors import UserError


@contextmanager
def locked(folder: DataFolder) -> Iterator[None]:
    """Hold the lock; the folder must be there. Raises OSError, and UserError if another studio has it."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip()
            raise UserError(
                f"{folder.root}: another studio is running on this data folder (process {owner or 'unknown'}); stop "
                "it, or name another folder with STUDIO_DATA"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
