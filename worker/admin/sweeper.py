"""The one that clears away: what a kill at a bad moment left in the data folder (half uploads and copies too), and
sessions, exports and set aside episodes whose time is over. At every start of a worker, and every hour from then on.
Uploads are cleared away where their bytes are, see backend.uploads.clearing.

What the database says was deleted is removed. What it does not know at all stays where it is and is told (see
backend.storage): a database that lost its newest rows, or came out of a backup, knows less than the folder. What an
administrator moved to lost/ is removed a month later. Nothing that was written to within the last day is touched:
somebody may be at it. What else is done regularly stands in docs/decisions/studio.md.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.checkpoints.files import checkpoint_place
from backend.core.db import database_now
from backend.core.errors import FilesLeftError
from backend.core.leftovers import OLD_SECONDS, age, clear_away, is_old
from backend.core.periodic import Periodic
from backend.episodes.files import episode_key
from backend.identity.repository import forget_sessions
from backend.storage import repository
from backend.store.base import StoreAwayError
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from backend.tables.job import Job, JobState
from backend.tables.run import Run

LOST_SECONDS = 30 * 86400.0
_EVERY_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


def sweeper(studio: Studio) -> Periodic:
    """A thread that ends with the process: nobody need wait for a round, which may take long on a large folder."""

    def work() -> float:
        from backend.editing.service import free as free_set_aside  # after the start, which they would delay
        from backend.exports.service import forget_old as forget_old_exports

        forget_old_sessions(studio)
        with suppress(FilesLeftError):  # the round that follows tries again
            forget_old_exports(studio)
        with suppress(FilesLeftError):
            free_set_aside(studio)
        sweep(studio)
        with suppress(StoreAwayError):
            sweep_store(studio)
        return _EVERY_SECONDS

    return Periodic("sweep", work, every_seconds=_EVERY_SECONDS)


def forget_old_sessions(studio: Studio) -> int:
    """Those that ended a day ago, whatever the clocks of the machines; returns how many. Raises SQLAlchemyError."""
    with studio.db.transaction() as db:
        return forget_sessions(db, ended_before=database_now(db) - timedelta(seconds=OLD_SECONDS))


def sweep(studio: Studio) -> list[Path]:
    """Returns what was removed. Raises OSError, SQLAlchemyError."""
    folder = studio.settings.folder
    halves = [*folder.uploads.glob("*")]
    for level in ("", "*/", "*/*/", "*/*/*/"):  # what was being written when its process was killed
        halves += folder.root.glob(f"{level}.*.tmp")
    episodes = repository.episode_files(folder)
    named = {kind: repository.folders(parent) for kind, (_, parent) in repository.tables(folder).items()}
    with studio.db.transaction(write=False) as db:
        deleted = set(db.scalars(select(EpisodeRow.id).where(EpisodeRow.freed_at.is_not(None))))
        gone = [path for path in episodes if path.stem in deleted]
        for kind, (model, _) in repository.tables(folder).items():
            deleted = _deleted(db, model)
            gone += [path for path in named[kind] if path.name in deleted]
        gone += _deleted_checkpoints(db, studio)
    ended = [path for path in folder.lost.glob("*") if age(path) > LOST_SECONDS]
    return clear_away((*filter(is_old, [*halves, *gone]), *ended))


def sweep_store(studio: Studio) -> list[str]:
    """What rows that were deleted left in a store elsewhere: keys that were removed. And what jobs that are over held
    of it on this machine. Raises StoreAwayError, SQLAlchemyError."""
    if not studio.store.remote:
        return []
    held = [path for path in studio.settings.folder.held("").glob("*") if path.is_dir()]
    with studio.db.transaction(write=False) as db:
        going_on = set(db.scalars(select(Job.id).where(Job.state.not_in([one for one in JobState if one.over]))))
        freed = db.scalars(select(EpisodeRow).where(EpisodeRow.freed_at.is_not(None)))
        gone = {episode_key(row.dataset_id, row.id) for row in freed}
        gone |= {key_of(studio.settings.data, path) for path in _deleted_places(db, studio)}
        gone |= {f"exports/{row.id}" for row in _gone(db, Export)} | {f"runs/{row.id}" for row in _gone(db, Run)}
    for path in held:
        if path.name not in going_on:
            shutil.rmtree(path, ignore_errors=True)
    there = [one.key for top in ("episodes", "exports", "runs") for one in studio.store.list(top)]
    left = [key for key in there if key in gone or any(str(parent) in gone for parent in PurePosixPath(key).parents)]
    studio.store.delete(left)
    if left:
        _log.warning("sweep.store", keys=left[:20], count=len(left))
    return left


def _gone(db: Session, model: Any) -> list[Any]:
    return list(db.scalars(select(model).where(model.deleted_at.is_not(None))))


def _deleted(db: Session, model: Any) -> set[str]:
    """Ids of rows that were deleted and stay for lineage."""
    if not hasattr(model, "deleted_at"):
        return set()
    return set(db.scalars(select(model.id).where(model.deleted_at.is_not(None))))


def _deleted_checkpoints(db: Session, studio: Studio) -> Iterator[Path]:
    """Folders of checkpoints that were deleted and are still there."""
    return (path for path in _deleted_places(db, studio) if path.is_dir())


def _deleted_places(db: Session, studio: Studio) -> Iterator[Path]:
    """Of checkpoints that were deleted, of runs that are over (one that runs may be training them anew)."""
    rows = db.scalars(
        select(Checkpoint)
        .join(Run, Run.id == Checkpoint.run_id)
        .join(Job, Job.id == Run.job_id)
        .where(Job.state.in_([state for state in JobState if state.over]))
    ).all()
    there = {(row.run_id, row.step) for row in rows if row.deleted_at is None}
    for row in rows:
        path = checkpoint_place(studio.settings.folder, row)
        if (row.run_id, row.step) not in there:
            yield path
