"""Files that are there as a whole: compared with what their sender said, then taken in as episodes, one after another.

A thread beside the API; of several API processes one at a time does it, whoever holds the lock. What a kill interrupts
is received still, and is looked at again by the next. Every hour it clears away what nobody goes on with.
"""

import fcntl
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.core.errors import (
    DiskFullError,
    FilesLeftError,
    InvalidError,
    NotFoundError,
    TooManyError,
    UnavailableError,
)
from backend.core.periodic import Periodic
from backend.core.removal import remove_after_commit
from backend.core.roles import Role
from backend.intake.accept import AlreadyThereError, RefusedError, accept
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.upload import Upload, UploadedFile, UploadKind, UploadState
from backend.tables.user import User
from backend.uploads import repository, service
from backend.uploads.clearing import clear
from backend.uploads.staged import size_of
from dexvla.checksums import file_sha256

_EVERY_SECONDS = 1.0
_CLEAR_SECONDS = 3600.0
_LATER_SECONDS = 20.0  # after a disk was full
_log = structlog.get_logger(__name__)


class WaitingError(Exception):
    """A received file cannot be looked at now, through no fault of its own."""


class Taking:
    """A thread that takes in what has been received until it is told to stop."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._stop, self._settled = studio, threading.Event(), False
        self._cleared_at = -math.inf
        self._periodic = Periodic("uploads", self._work, every_seconds=_EVERY_SECONDS)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """The file that is being looked at stays received."""
        self._stop.set()
        self._periodic.stop()

    def _work(self) -> float:
        with _alone(self._studio.settings.folder.staging_lock) as alone:
            if not alone:
                return _EVERY_SECONDS
            if not self._settled:
                settle(self._studio)
                self._settled = True
            if time.monotonic() - self._cleared_at > _CLEAR_SECONDS:
                self._cleared_at = time.monotonic()
                clear(self._studio)
            return _EVERY_SECONDS if take_received(self._studio, self._stop) else _LATER_SECONDS


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock; it goes with its process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def settle(studio: Studio) -> None:
    """After a start: files whose last byte is on the disk, and whose row does not say so; and those of folders that
    are not there as their rows say, after a restore, which brings none: their sender goes on with them."""
    with studio.db.transaction(write=False) as db:
        ids = [*repository.in_state(db, UploadState.UPLOADING), *repository.in_state(db, UploadState.STAGED)]
        rows = [row for id in ids if (row := repository.file_by_id(db, id)) is not None]
    for row in rows:
        path = studio.settings.folder.staged(row.upload_id) / row.id
        there = size_of(path)
        if row.state is UploadState.STAGED:
            if there != row.size or not path.exists():
                with studio.db.transaction() as db:
                    _not_staged(repository.file_by_id(db, row.id), there)
        elif there >= row.size:
            with studio.db.transaction() as db:
                service.note_received(db, studio, row.id, there)


def _not_staged(row: UploadedFile | None, there: int) -> None:
    if row is None or row.state is not UploadState.STAGED:
        return
    if row.size == 0:  # nothing of it is to come: it is made anew
        row.state = UploadState.RECEIVED
    else:
        _missing(row, there)


def take_received(studio: Studio, stop: threading.Event) -> bool:
    """False where some have to wait: for room on the disk, for whoever else has files looked at, for a store that is
    away. They keep nobody else's: of what finds no room smaller ones are still tried, and folders need none.

    Raises SQLAlchemyError.
    """
    below, all_taken = math.inf, True  # bytes of episodes that are worth a try
    with studio.db.transaction(write=False) as db:
        waiting = repository.in_state(db, UploadState.RECEIVED)
    for file_id in waiting:
        if stop.is_set():
            return True
        try:
            _take(studio, file_id, stop, below=below)
        except DiskFullError as error:
            why, below = error.message, min(below, _size(studio, file_id))
        except TooManyError as error:
            why, below = error.message, 0
        except WaitingError as error:
            why, below = str(error), below if isinstance(error.__cause__, OSError) else 0
        except OSError as error:
            _log.warning("uploads.unreadable", file=file_id, error=str(error))
            why = f"the studio cannot read what arrived ({error.strerror or error}); it is tried again"
        else:
            continue
        all_taken = False
        _note(studio, file_id, f"Waiting: {why}")
    return all_taken


def _size(studio: Studio, file_id: str) -> int:
    with studio.db.transaction(write=False) as db:
        row = repository.file_by_id(db, file_id)
    return 0 if row is None else row.size


def _take(studio: Studio, file_id: str, stop: threading.Event, *, below: float) -> None:
    """below: episodes of as many bytes are left for later.

    Raises DiskFullError, TooManyError, WaitingError, OSError.
    """
    with studio.db.transaction(write=False) as db:
        row = repository.file_by_id(db, file_id)
        upload = None if row is None else repository.by_id(db, row.upload_id)
        sender = None if upload is None or upload.created_by is None else db.get(User, upload.created_by)
    if row is None or upload is None or row.state is not UploadState.RECEIVED:
        return
    if upload.kind is UploadKind.EPISODES and row.size >= below:
        return
    path = studio.settings.folder.staged(upload.id) / row.id
    if row.size == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if size_of(path) != row.size:  # after a restore: the sender still has it
        _change(studio, row.id, lambda db, now: _missing(now, size_of(path)), tell=upload.dataset_id)
        return
    sha256 = file_sha256(path)
    if row.sha256 not in {None, sha256}:
        said = f"What arrived is not what was sent: its sha256 is {sha256}, {row.sha256} was announced. Send it again."
        _refuse(studio, upload, row.id, said)
    elif sender is None or sender.disabled or not Role(sender.role).allows(Role.OPERATOR):
        _refuse(studio, upload, row.id, "Whoever sent it may not add episodes any more.")
    elif upload.kind is UploadKind.FOLDER:
        _change(studio, row.id, lambda db, now: _stage(now, sha256), tell=upload.dataset_id)
    else:
        _accept(studio, upload, row, path, sha256, stop)


def _accept(studio: Studio, upload: Upload, row: UploadedFile, path: Path, sha256: str, stop: threading.Event) -> None:
    name = row.path.rpartition("/")[2]
    with studio.db.transaction(write=False) as db:
        twin = repository.same_file(db, upload.dataset_id, [sha256]).get(sha256)
    if twin is not None:
        _twin(studio, upload, row, sha256, twin.id)
        return
    try:
        with studio.inspections.turn(stop):
            accepted = accept(
                studio,
                dataset_id=upload.dataset_id,
                file=path,
                source=EpisodeSource.UPLOADED,
                original_name=name,
                created_by=upload.created_by,
                instruction=upload.instruction,
                source_sha256=sha256,
                stop=stop,
            )
    except AlreadyThereError as error:
        _twin(studio, upload, row, sha256, error.episode_id)
    except RefusedError as error:
        _refuse(studio, upload, row.id, error.message, errors=error.errors)
    except (InvalidError, NotFoundError) as error:
        if not stop.is_set():
            _refuse(studio, upload, row.id, error.message)
    except (DiskFullError, TooManyError):
        raise
    except (UnavailableError, OSError, SQLAlchemyError) as error:  # none of the file's faults: it stays, and waits
        _log.warning("uploads.waiting", file=row.id, error=str(error))
        raise WaitingError(
            "the studio cannot take it in at the moment (its log says why); it is tried again"
        ) from error
    except Exception:  # a fault of ours, which must not keep the files behind it; what was sent stays
        _log.exception("uploads.failed", file=row.id)
        said = f"The studio failed while it looked at {name}; its log says how. What was sent is kept."
        _refuse(studio, upload, row.id, said, keep=True)
    else:
        _listed(studio, upload, row.id, sha256, accepted.episode_id, accepted.warnings)


def _twin(studio: Studio, upload: Upload, row: UploadedFile, sha256: str, episode_id: str) -> None:
    """An episode of the same content: there before, or of this very file, by a studio that was killed before it wrote
    that down."""
    with studio.db.transaction(write=False) as db:
        twin = db.get_one(EpisodeRow, episode_id)
    received = row.received_at
    if twin.source_sha256 == sha256 and received is not None and twin.created_at >= received:
        _listed(studio, upload, row.id, sha256, twin.id, [])
        return

    def change(db: Session, now: UploadedFile) -> None:
        now.sha256 = sha256
        service.mark_already_there(now, twin)
        remove_after_commit(db, now.path, [_path(studio, now)])

    _change(studio, row.id, change, tell=upload.dataset_id)


def _listed(studio: Studio, upload: Upload, file_id: str, sha256: str, episode_id: str, warnings: list[str]) -> None:
    def change(db: Session, row: UploadedFile) -> None:
        row.state, row.sha256, row.episode_id = UploadState.TAKEN_IN, sha256, episode_id
        row.message, row.warnings = None, warnings
        remove_after_commit(db, row.path, [_path(studio, row)])

    _change(studio, file_id, change, tell=upload.dataset_id)


def _refuse(
    studio: Studio, upload: Upload, file_id: str, message: str, *, errors: list[str] | None = None, keep: bool = False
) -> None:
    """keep: the bytes, for as long as the upload."""

    def change(db: Session, row: UploadedFile) -> None:
        row.state, row.message, row.errors = UploadState.REFUSED, message, errors or []
        if not keep:
            remove_after_commit(db, row.path, [_path(studio, row)])

    _change(studio, file_id, change, tell=upload.dataset_id)


def _stage(row: UploadedFile, sha256: str) -> None:
    row.state, row.sha256, row.message = UploadState.STAGED, sha256, None


def _missing(row: UploadedFile, there: int) -> None:
    row.state, row.received, row.received_at = UploadState.UPLOADING, there, None


def _note(studio: Studio, file_id: str, message: str) -> None:
    def change(db: Session, row: UploadedFile) -> None:
        if row.message != message:
            row.message = message
            publish_after_commit(db, studio, "dataset", service.found(db, row.upload_id).dataset_id)

    _change(studio, file_id, change)


def _change(
    studio: Studio, file_id: str, change: Callable[[Session, UploadedFile], None], *, tell: str | None = None
) -> None:
    """Of a file that is still received: one that was cancelled stays gone. tell: a dataset whose pages hear of it."""
    with suppress(FilesLeftError), studio.db.transaction() as db:  # told in the log; they go with the upload
        row = repository.file_by_id(db, file_id)
        if row is None or row.state is not UploadState.RECEIVED:
            return
        change(db, row)
        if tell is not None:
            publish_after_commit(db, studio, "dataset", tell)


def _path(studio: Studio, row: UploadedFile) -> Path:
    return studio.settings.folder.staged(row.upload_id) / row.id
