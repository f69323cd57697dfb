"""The one that clears away: what a kill at a bad moment left in the data folder (half uploads and copies too), and
sessions and exports whose time is over. At every start of a worker, and every hour from then on.

What the database says was deleted is removed. What it does not know at all stays where it is and is told (see
backend.storage): a database that lost its newest rows, or came out of a backup, knows less than the folder. What an
administrator moved to lost/ is removed a month later. Nothing that was written to within the last day is touched:
somebody may be at it. What else is done regularly stands in docs/decisions/studio.md.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.checkpoints.names import checkpoint_folder
from backend.core.db import database_now
from backend.core.errors import FilesLeftError
from backend.core.periodic import Periodic
from backend.identity.repository import forget_sessions
from backend.storage import repository
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.episode import EpisodeRow
from backend.tables.job import Job, JobState
from backend.tables.run import Run

OLD_SECONDS = 24 * 3600.0  # more than clocks are ever set by
LOST_SECONDS = 30 * 86400.0
_EVERY_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


def sweeper(studio: Studio) -> Periodic:
    """A thread that ends with the process: nobody need wait for a round, which may take long on a large folder."""

    def work() -> float:
        from backend.exports.service import forget_old as forget_old_exports  # after the start, which it would delay

        forget_old_sessions(studio)
        with suppress(FilesLeftError):  # the round that follows tries again
            forget_old_exports(studio)
        sweep(studio)
        return _EVERY_SECONDS

    return Periodic("sweep", work, every_seconds=_EVERY_SECONDS)


def forget_old_sessions(studio: Studio) -> int:
    """Those that ended a day ago, whatever the clocks of the machines; returns how many. Raises SQLAlchemyError."""
    with studio.db.transaction() as db:
        return forget_sessions(db, ended_before=database_now(db) - timedelta(seconds=OLD_SECONDS))


def sweep(studio: Studio) -> list[Path]:
    """Returns what was removed. Raises OSError, SQLAlchemyError."""
    folder, swept = studio.settings.folder, []
    halves = [*folder.uploads.glob("*")]
    for level in ("", "*/", "*/*/", "*/*/*/"):  # what was being written when its process was killed
        halves += folder.root.glob(f"{level}.*.tmp")
    episodes = repository.episode_files(folder)
    named = {kind: repository.folders(parent) for kind, (_, parent) in repository.tables(folder).items()}
    with studio.db.transaction(write=False) as db:
        deleted = set(db.scalars(select(EpisodeRow.id).where(EpisodeRow.deleted_at.is_not(None))))
        gone = [path for path in episodes if path.stem in deleted]
        for kind, (model, _) in repository.tables(folder).items():
            deleted = _deleted(db, model)
            gone += [path for path in named[kind] if path.name in deleted]
        gone += _deleted_checkpoints(db, studio)
    ended = [path for path in folder.lost.glob("*") if _age(path) > LOST_SECONDS]
    for path in (*filter(_old, [*halves, *gone]), *ended):
        try:
            _remove(path)
        except OSError as error:  # one that may not be removed keeps no other
            _log.warning("sweep.left", path=str(path), error=error.strerror)
            continue
        _log.warning("sweep.swept", path=str(path))
        swept.append(path)
    return swept


def _deleted(db: Session, model: Any) -> set[str]:
    """Ids of rows that were deleted and stay for lineage."""
    if not hasattr(model, "deleted_at"):
        return set()
    return set(db.scalars(select(model.id).where(model.deleted_at.is_not(None))))


def _deleted_checkpoints(db: Session, studio: Studio) -> Iterator[Path]:
    """Folders of checkpoints that were deleted, of runs that are over (one that runs may be training them anew)."""
    rows = db.scalars(
        select(Checkpoint)
        .join(Run, Run.id == Checkpoint.run_id)
        .join(Job, Job.id == Run.job_id)
        .where(Job.state.in_([state for state in JobState if state.over]))
    ).all()
    there = {(row.run_id, row.step) for row in rows if row.deleted_at is None}
    for row in rows:
        path = checkpoint_folder(studio, row)
        if (row.run_id, row.step) not in there and path.is_dir():
            yield path


def _old(path: Path) -> bool:
    """Whether nothing in it changed for a day."""
    return path.exists() and _age(path) > OLD_SECONDS


def _age(path: Path) -> float:
    """Seconds since the newest change of a file, or of anything in a folder."""
    try:
        newest = path.lstat().st_mtime
    except FileNotFoundError:  # another worker's sweeper was here
        return 0.0
    if path.is_dir() and not path.is_symlink():
        for root, _, names in os.walk(path):
            for name in (".", *names):
                try:
                    newest = max(newest, os.lstat(os.path.join(root, name)).st_mtime)
                except FileNotFoundError:
                    newest = time.time()  # somebody is at it
    return time.time() - newest


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:  # another worker's sweeper is at it, too
            if path.exists():
                raise
    else:
        path.unlink(missing_ok=True)
