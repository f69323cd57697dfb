"""Remove the files of what was deleted, wherever they are, once the database says that it is deleted."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from backend.core.db import after_commit
from backend.core.errors import FilesLeftError
from backend.core.removal import remove_after_commit
from backend.store.base import Store, StoreAwayError
from backend.store.small import key_of
from backend.studio.context import Studio

_log = structlog.get_logger(__name__)


def remove_files_after_commit(db: Session, studio: Studio, what: str, paths: Iterable[Path]) -> None:
    """Files or folders of the data folder that belong to `what`, and what the store has under their keys.

    As backend.core.removal.remove_after_commit: whoever asked gets FilesLeftError for what is left.
    """
    paths = tuple(paths)
    remove_after_commit(db, what, paths)
    if studio.store.remote:
        keys = [key_of(studio.settings.data, path) for path in paths]
        after_commit(db, partial(_remove, studio.store, what, keys))


def _remove(store: Store, what: str, keys: list[str]) -> None:
    try:
        remove_keys(store, keys)
    except StoreAwayError as error:
        _log.error("removal.left", what=what, errors=[error.message])
        raise FilesLeftError(
            f"{what} was deleted, but its files are still in the store, so that their space is not free yet: "
            f"{store.name} does not answer. A worker tries again every hour."
        ) from error


def remove_keys(store: Store, keys: Iterable[str]) -> None:
    """Files under these keys, and all below those that are folders."""
    for key in keys:
        store.delete([key, *(one.key for one in store.list(key))] if Path(key).suffix == "" else [key])
