"""Today's identity for episodes that were listed under a former one; once at every start, in a thread.

A former identity did not say how the images are read (dexvla.episodes.identity), so whatever was cached under it may
show another episode's colours: it is removed. The row keeps the former identity as an alias, by which older versions,
checkpoints and label files still find the episode; manifests that were written are left as they are.
"""

import re
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.errors import NotFoundError
from backend.core.folders import DataFolder
from backend.episodes.files import file_of
from backend.store.base import StoreAwayError
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.episode import EpisodeRow
from dexvla.data.cache import FORMAT
from dexvla.episodes.identity import renewed_identity
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from dexvla.spec.data import IDENTITY_VERSION

_FORMER = re.compile(r"[0-9a-f]{64}")
_TELL_SECONDS = 10.0  # between two words of how far it is
_AGAIN_SECONDS = 60.0  # after the database or the disk failed
_log = structlog.get_logger(__name__)


class Renewal:
    """A thread that renews until it is done or told to stop.

    A database or a disk that fails is logged and tried again; what a kill has left is done at the next start.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="identities", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                renew(self._studio, stop=self._stop)
                return
            except (OSError, SQLAlchemyError, StoreAwayError) as error:
                short = " ".join(str(error).split())[:200]
                _log.warning("episodes.identities_failed", error=short, again_in_seconds=_AGAIN_SECONDS)
            self._stop.wait(_AGAIN_SECONDS)


def renew(studio: Studio, *, stop: threading.Event | None = None) -> int:
    """Returns how many episodes got a new identity; each is in the audit log with both.

    Each is committed by itself, so that a kill loses nothing that was done. One whose file is gone or damaged keeps its
    former one and is logged. Raises OSError, SQLAlchemyError.
    """
    with studio.db.transaction(write=False) as db:
        query = select(EpisodeRow.id).where(
            EpisodeRow.deleted_at.is_(None), EpisodeRow.identity.not_like(f"{IDENTITY_VERSION}%")
        )
        wanted = list(db.scalars(query))
    renewed, told = 0, time.monotonic()
    if wanted:
        _log.info("episodes.identities_begin", episodes=len(wanted))
    for count, episode_id in enumerate(wanted):
        if stop is not None and stop.is_set():
            return renewed
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            _log.info("episodes.identities_progress", looked_at=count, episodes=len(wanted))
        renewed += _renew(studio, episode_id)
    removed = forget_former(studio.settings.folder)  # also what a start before, which was killed, has left
    if wanted or removed:
        _log.info("episodes.identities_renewed", episodes=renewed, left=len(wanted) - renewed, caches_removed=removed)
    return renewed


def _renew(studio: Studio, episode_id: str) -> bool:
    with studio.db.transaction(write=False) as db:
        row = db.get(EpisodeRow, episode_id)
        if row is None or row.deleted_at is not None:
            return False
        former = row.identity
    try:
        identity = identity_of(studio, row)
    except (EpisodeError, NotFoundError) as error:
        _log.warning("episodes.identity_left", episode=episode_id, error=str(error)[:200])
        return False
    with studio.db.transaction() as db:
        row = db.get(EpisodeRow, episode_id, with_for_update=True)
        if row is None or row.identity != former:
            return False
        give(db, row, identity)
        publish_after_commit(db, studio, "episode", row.id)
    return True


def identity_of(studio: Studio, row: EpisodeRow) -> str:
    """Today's identity of a listed episode, in milliseconds. Raises EpisodeError for a file that cannot be read,
    NotFoundError for one that is gone."""
    with open_episode(file_of(studio, row)) as episode:
        return renewed_identity(episode, row.identity, trust_lengths=True)  # every listed file is our own fresh copy


def give(db: Session, row: EpisodeRow, identity: str) -> None:
    """The row's former identity becomes its alias."""
    record(db, None, "episode.identity", row.id, dataset=row.dataset_id, former=row.identity, identity=identity)
    row.former_identity, row.identity = row.identity, identity


def forget_former(folder: DataFolder) -> int:
    """Remove what was cached under former identities; all of it is made anew when it is asked for. Returns how many."""
    stale = [path for path in folder.cache.glob("*.jpg") if _FORMER.fullmatch(path.stem)]
    stale += [path for path in (folder.cache / "suggestions").glob("*") if _FORMER.match(path.name)]
    for path in stale:
        path.unlink(missing_ok=True)
    pictures = folder.cache / "pictures"
    for old in [path for path in pictures.glob("*") if path.name != f"format-{FORMAT}"]:
        stale.append(old)
        _remove(old)
    return len(stale)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
