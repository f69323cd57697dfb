"""Whether a model's files are still those that were registered, told before anything is trained from them."""

import logging
from pathlib import Path
from typing import Any

from backend.base_models import repository
from backend.studio.context import Studio
from dexvla.checksums import check_sums, sums_of
from dexvla.errors import CheckpointError

_REMEDY = "Put the model's files back as they were; if the change is meant, forget the model and register it again"
_log = logging.getLogger("studio.models")


def sums(path: Path) -> dict[str, dict[str, Any]]:
    """sha256 and bytes of each file of a model; reads all of it. Empty for the folder of a run, whose newest checkpoint
    is the model and carries sums of its own. Raises CheckpointError for what cannot be read."""
    if path.is_dir() and not (path / "config.json").is_file():
        return {}
    try:
        return sums_of(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def require_whole(studio: Studio, path: str) -> None:
    """Compare what lies at `place` with what was registered there; nothing where no registered model lies.

    One that an older studio registered, without sums, gets them now. Raises CheckpointError. No transaction is open
    while files are read, which takes seconds for gigabytes, once a process.
    """
    with studio.db.transaction(write=False) as db:
        row = repository.by_path(db, path)
        if row is None:
            return
        model_id, files = row.id, row.files
    if files is None:
        found = sums(Path(path))
        with studio.db.transaction() as db:
            repository.keep_sums(db, model_id, found)
        _log.warning("%s was registered before sums were kept; they are from now on", path)
    elif files:
        check_sums(Path(path), files, source="its registration", remedy=_REMEDY)
