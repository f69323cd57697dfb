"""Checkpoints of a run as they are saved and pruned -> rows."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.checkpoints.names import archive_name
from backend.checkpoints.saved import Found, new_row, read
from backend.core.db import utc_now
from backend.store.base import StoreAwayError, Stored
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_keys
from backend.tables.checkpoint import Checkpoint
from dexvla.spec import step_name
from dexvla.train import runs
from worker.jobs.handlers.base import JobContext

_STORE_TRIES, _STORE_SECONDS = 20, 15.0  # each try itself takes a minute or two where nothing answers
Fence = Callable[[], AbstractContextManager[Session]]


class _Hash:
    """One checkpoint being read in a thread. It ends with the process: nothing of it needs to be put in order."""

    def __init__(self, studio: Studio, folder: Path, archive: str) -> None:
        self._studio = studio
        self.found: Found | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, args=(folder, archive), daemon=True)
        self._thread.start()

    def ready(self, *, wait: bool) -> bool:
        """Whether `found` is final: None if the checkpoint was pruned meanwhile. Raises what the reading raised."""
        if wait:
            self._thread.join()
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def _read(self, folder: Path, archive: str) -> None:
        try:
            found = read(folder, archive)
            self._share(folder, found)
            self.found = found
        except FileNotFoundError:
            return
        except Exception as error:  # handed to the thread that asks
            self._error = error

    def _share(self, folder: Path, found: Found) -> None:
        """Into a store elsewhere, before anybody is told of it. Training goes on while that is away for a while."""
        store, key = self._studio.store, key_of(self._studio.settings.data, folder)
        if not store.remote:
            return
        for one in found.files:
            file = Stored(key=f"{key}/{one['name']}", sha256=one["sha256"], size=one["size"])
            for left in reversed(range(_STORE_TRIES)):
                try:
                    store.share(folder / one["name"], file)
                    break
                except StoreAwayError:
                    if not left:
                        raise
                    time.sleep(_STORE_SECONDS)


class CheckpointRegistrar:
    """Looks at checkpoints/ of a run. Only finished ones count: those with a manifest, renamed into their place.

    The hash of the archive reads the whole checkpoint, so it is computed in a thread; the row comes when it is there.
    """

    def __init__(self, run: runs.Run, run_id: str, *, name: str, keep: int) -> None:
        self._run, self._run_id, self._name, self._keep = run, run_id, name, keep
        self._known: set[int] | None = None  # steps with a row that says their files are there
        self._hashing: dict[int, _Hash] = {}

    def look(self, job: JobContext, fence: Fence, *, wait: bool = False) -> None:
        """Rows for what is new, marks for what is gone. wait: also for those that are still being hashed.

        Raises LostError, by `fence` (JobContext.fenced), if another attempt took over.
        """
        if self._known is None:
            with job.studio.db.transaction(write=False) as db:
                self._known = {row.step for row in self._rows(db)}
        there = set(runs.steps_of(self._run.checkpoints))
        for step in sorted(there - self._known - set(self._hashing)):
            self._hashing[step] = _Hash(
                job.studio, self._run.checkpoints / step_name(step), archive_name(self._name, step)
            )
        ready = [step for step, one in self._hashing.items() if one.ready(wait=wait)]
        gone = self._known - there if self._trained_here() else set()
        if not ready and not gone:
            return
        with fence() as db:
            for step in ready:
                row = self._row(step, self._hashing[step].found, job.attempt)
                if row is not None:
                    db.add(row)
                    db.flush()
                    publish_after_commit(db, job.studio, "checkpoint", row.id)
            for row in self._rows(db):
                if row.step in gone:
                    row.deleted_at = utc_now()
                    row.deleted_why = f"the run keeps the newest {self._keep}"
                    publish_after_commit(db, job.studio, "checkpoint", row.id)
            publish_after_commit(db, job.studio, "run", self._run_id)
        if job.studio.store.remote:
            keys = [key_of(job.studio.settings.data, self._run.checkpoints / step_name(step)) for step in gone]
            with suppress(StoreAwayError):  # the sweeper tries again
                remove_keys(job.studio.store, keys)
        for step in ready:
            if self._hashing.pop(step).found is not None:
                self._known.add(step)
        self._known -= gone

    def _trained_here(self) -> bool:
        """Whether what is not in the folder was pruned by the trainer. Another machine's run, or a disk that is not
        mounted, shows no checkpoint either; beside its own the trainer's state lies."""
        return self._run.resumable_step() > 0

    def _rows(self, db: Session) -> list[Checkpoint]:
        return list(
            db.scalars(select(Checkpoint).where(Checkpoint.run_id == self._run_id, Checkpoint.deleted_at.is_(None)))
        )

    def _row(self, step: int, found: Found | None, attempt: int) -> Checkpoint | None:
        """None: it was pruned before anybody could look at it."""
        return None if found is None else new_row(self._run_id, step, attempt, found)
