"""Remove the files of what was deleted, once the database says that it is deleted."""

import os
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from backend.core.db import after_commit
from backend.core.errors import FilesLeftError

_log = structlog.get_logger(__name__)


def remove_after_commit(db: Session, what: str, paths: Iterable[Path]) -> None:
    """Files or folders that belong to `what`, as a sentence begins with it. Whoever asked gets FilesLeftError for what
    cannot be removed: it is deleted all the same, and the worker's sweeper (for uploads the API) tries again."""
    after_commit(db, partial(_remove, what, tuple(paths)))


def _remove(what: str, paths: tuple[Path, ...]) -> None:
    left: list[OSError] = []

    def failed(function: object, path: str, error: BaseException) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            left.append(error)

    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, onerror=lambda function, name, found: failed(function, name, found[1]))
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            failed(os.unlink, str(path), error)
    if left:
        _log.error("removal.left", what=what, errors=[str(error) for error in left[:5]])
        raise FilesLeftError(
            f"{what} was deleted, but its files could not all be removed ({left[0].strerror or left[0]}), so that "
            "their space is not free yet. The studio tries again later."
        )
