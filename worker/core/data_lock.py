"""The locks of a data folder: one studio at a time works on it, and one API serves it.

What bounds strangers and slow work is counted by the one application behind that API: tries at signing in, hashes of
passwords, inspections of files (backend.studio.context). A second one would double each bound, and a replica behind a
balancer would do so in silence; so it is refused.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.core.folders import DataFolder
from dexvla.errors import UserError


@contextmanager
def locked(folder: DataFolder) -> Iterator[None]:
    """Hold the lock; the folder must be there. Raises OSError, and UserError if another studio has it."""
    with _held(folder.lock) as owner:
        if owner is not None:
            raise UserError(
                f"{folder.root}: another studio is running on this data folder ({owner}); stop it, or name another "
                "folder with STUDIO_DATA"
            )
        yield


@contextmanager
def only_api(folder: DataFolder) -> Iterator[None]:
    """Hold the API's lock; the folder is prepared. Raises OSError, and UserError if another process serves it."""
    with _held(folder.api_lock) as owner:
        if owner is not None:
            raise UserError(
                f"{folder.root}: another process serves this studio ({owner}). One does, on any number of cores: its "
                "limits for strangers and slow work are counted in it. Stop that one first; do not start replicas"
            )
        yield


@contextmanager
def _held(file: Path) -> Iterator[str | None]:
    """None, holding the file's lock; or who holds it, in words."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield f"process {os.read(descriptor, 32).decode(errors='replace').strip() or 'unknown'}"
            return
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield None
    finally:
        os.close(descriptor)
