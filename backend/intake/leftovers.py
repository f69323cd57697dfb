"""What a process that was killed left half-done: uploads and copies that were never listed."""

import time
from contextlib import suppress

from backend.core.folders import DataFolder

_OLD_SECONDS = 24 * 3600  # nothing that is still worked on is as old, also in another process


def remove_leftovers(folder: DataFolder) -> int:
    """Returns how many files went. Files under their final name stay, whatever the database says: it may be the
    database that is older, out of a backup."""
    before, removed = time.time() - _OLD_SECONDS, 0
    for path in (*folder.uploads.glob("*.hdf5"), *folder.episodes.glob("*/.*.tmp")):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
