"""Uploads whose days are over, and bytes of uploads that are gone: cleared away beside the API, which has them.

A worker may be on another machine, which shares the database and not the disk: it would forget the rows and leave the
bytes.
"""

from contextlib import suppress
from pathlib import Path

from backend.core.errors import FilesLeftError
from backend.core.leftovers import clear_away, is_old
from backend.studio.context import Studio
from backend.uploads import repository, service


def clear(studio: Studio) -> list[Path]:
    """Returns what was removed of uploads that no row knows. Raises OSError, SQLAlchemyError."""
    with suppress(FilesLeftError):  # they have no row any more, and go below once they can be removed
        service.forget_old(studio)
    there = [path for path in studio.settings.folder.staging.glob("*") if path.is_dir()]
    with studio.db.transaction(write=False) as db:  # after the listing: an upload that begins now is known
        known = repository.ids(db)
    return clear_away(path for path in there if path.name not in known and is_old(path))
