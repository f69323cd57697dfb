"""One attempt at one job: `python -m worker.jobs.runner JOB_ID`.

Claims the job, runs its command in a process group of its own, renews the lease, notices cancellation, and writes the
end into the job's row. Exit status 0: the attempt was made, whatever came of it; 75: the job is not to be had.
"""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from socket import gethostname
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from backend.core.db import database_now
from backend.core.errors import ApiError, UnavailableError
from backend.core.settings import Settings
from backend.jobs import repository
from backend.jobs.repository import LostError
from backend.studio import events
from backend.studio.context import Studio
from backend.tables.job import Job, JobState
from dexvla.episodes.known import CACHE_VARIABLE
from dexvla.errors import UserError
from dexvla.progress import VARIABLE, Cause, first_failure
from worker.core.processes import die_with_parent, giving_way
from worker.jobs.causes import DISK_FULL, Failure, explain
from worker.jobs.handlers import handler_of
from worker.jobs.handlers.base import Handler, JobContext, Progress
from worker.jobs.orphans import end_orphan, lock_of_ended, remember, try_lock
from worker.jobs.shared_log import share_log, share_while

NOT_TO_BE_HAD = 75
_TICK_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_STUDIO_STOPS_SECONDS = 3.0
_STUCK_GRACE_SECONDS = 20.0
_LAST_WRITE_SECONDS = 20.0  # how long the end of an attempt is tried to be written if the database is away
_PACE_PARTS = 20


class Reason(Enum):
    """Why the runner ends the command before it ends by itself."""

    CANCELLED = auto()
    STUDIO_STOPS = auto()
    STUCK = auto()
    LOST = auto()


def run(settings: Settings, job_id: str) -> int:
    """Make an attempt at the job. Returns the exit status of the module's docstring."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    studio = Studio.open(settings)
    try:
        with studio.db.transaction(write=False) as db:
            job = repository.get(db, job_id)
            if job is None or job.state.over:
                return NOT_TO_BE_HAD
        handler = handler_of(job.kind)
        folder = settings.folder.job(job_id)
        try:
            if studio.space.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            folder.mkdir(parents=True, exist_ok=True)
            lock = try_lock(folder)
        except OSError as error:
            _say_why_it_waits(studio, job_id, error)
            return NOT_TO_BE_HAD
        if lock is None and end_orphan(folder, grace=handler.grace if handler.ends_in_order else 0):
            lock = lock_of_ended(folder)
        if lock is None:
            return NOT_TO_BE_HAD
        with studio.db.transaction() as db:
            job = repository.claim(
                db, job_id, owner=f"{gethostname()}:{os.getpid()}", lease_seconds=settings.lease_seconds
            )
        if job is None:
            return NOT_TO_BE_HAD
        events.publish(studio, "job", job.id)
        _Attempt(studio, job, handler, stopping, lock).run()
        return 0
    finally:
        studio.close()


def _say_why_it_waits(studio: Studio, job_id: str, error: OSError) -> None:
    """Nothing of the job could be begun; it is tried again every few seconds."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    cause = f"waits: {'the disk is full; free some space' if full else f'its folder cannot be used ({error.strerror})'}"
    with studio.db.transaction() as db:
        job = repository.get(db, job_id)
        if job is not None and job.state is JobState.QUEUED and job.cause != cause:
            repository.change_if(db, job, values={"cause": cause})
            events.publish_after_commit(db, studio, "job", job_id)


@dataclass(frozen=True, kw_only=True)
class _End:
    """What becomes of the job's row."""

    state: JobState
    cause: str | None = None
    result: dict[str, Any] | None = None
    counts: bool = True  # towards the attempts without progress


class _Attempt:
    def __init__(self, studio: Studio, job: Job, handler: Handler, stopping: threading.Event, lock: int) -> None:
        self._studio, self._handler, self._stopping, self._lock = studio, handler, stopping, lock
        self._job = JobContext(
            studio=studio,
            id=job.id,
            kind=job.kind,
            attempt=job.attempt,
            title=job.title,
            subject_id=job.subject_id,
            created_by=job.created_by,
            payload=job.payload,
            folder=studio.settings.folder.job(job.id),
        )
        minutes = studio.settings.patience_minutes.get(job.kind.value)
        self._patience = handler.patience if minutes is None else minutes * 60
        self._cancelled, self._lost, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._cancel_cause: str | None = None
        self._written: Progress | None = None
        self._parts: deque[tuple[float, int]] = deque(maxlen=_PACE_PARTS)
        self._log_start = 0

    def run(self) -> None:
        job = self._job
        self._say(f"attempt {job.attempt} on {gethostname()}")
        self._log_start = job.log.stat().st_size
        try:
            end = self._attempt()
        except LostError:
            self._say("another attempt has taken over; stopped")
            return
        except Exception as error:
            failure = _failure_of(error)
            if not failure.final:
                self._say(traceback.format_exc())
            end = self._failed(failure)
        finally:
            self._closed.set()
        if end.state in {JobState.FAILED, JobState.CANCELLED}:
            with self._errors_to_log():
                self._handler.clean(job)
        self._close(end)

    def _attempt(self) -> _End:
        job, handler = self._job, self._handler
        prepared = threading.Event()
        keeper = self._keeper(until=prepared)
        try:
            command = handler.command(job)  # may read a whole base model first, which can take longer than a lease
        finally:
            prepared.set()
            keeper.join()  # before the start, which forks: nothing may hold a lock then
        if self._lost.is_set():
            raise LostError(job.id)
        process = None if command is None else self._start(command)
        self._keeper(until=self._closed)
        share_while(self._studio, self._job.log, until=self._closed)
        status, reason = 0, None
        if process is not None:
            try:
                reason = self._follow(process)
            finally:
                _kill_group(process)
                status = process.wait()
        if reason is Reason.LOST:
            raise LostError(job.id)
        self._report(handler.poll(job))
        if status == 0:
            result = handler.finish(job)
            return _End(state=JobState.DONE, result=result)
        if reason is Reason.CANCELLED:
            return _End(state=JobState.CANCELLED, cause=self._cancel_cause)
        if reason is Reason.STUDIO_STOPS:
            cause = f"interrupted: the studio stopped; {handler.resumes}"
            return _End(state=JobState.QUEUED, cause=cause, counts=False)
        if reason is Reason.STUCK:
            return self._failed(
                Failure(cause=f"no sign of life for {self._patience / 60:.0f} min; it was stopped", final=False)
            )
        if status in {130, -signal.SIGTERM, -signal.SIGINT}:
            cause = f"interrupted: somebody ended its process; {handler.resumes}"
            return _End(state=JobState.QUEUED, cause=cause, counts=False)
        told = first_failure(job.progress_file)
        # what it said found no room, or came from a library that does not say so
        if (told is None or told.failed is Cause.DEFECT) and self._studio.space.full:
            return self._failed(Failure(cause=DISK_FULL, final=True))
        return self._failed(explain(status, told, job.log, start=self._log_start))

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        job, handler = self._job, self._handler
        job.progress_file.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            VARIABLE: str(job.progress_file),
            CACHE_VARIABLE: str(job.studio.settings.folder.cache),
        }
        ends_with_us = die_with_parent(signal.SIGTERM if handler.ends_in_order else signal.SIGKILL)
        with job.log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, **handler.environment(job)},
                pass_fds=(self._lock,),
                start_new_session=True,
                preexec_fn=giving_way(self._studio.settings.job_nice, ends_with_us, session=True),
            )
        remember(job.folder, process.pid)
        return process

    def _follow(self, process: subprocess.Popen[bytes]) -> Reason | None:
        """Until the process has ended. Returns why it was ended, if it was."""
        reason: Reason | None = None
        kill_at = float("inf")
        signs: object = None
        alive_at = time.monotonic()
        looked_at = 0.0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK_SECONDS)
                return reason
            now = time.monotonic()
            if now > kill_at:
                _kill_group(process)
            why = self._why_end()
            if why is Reason.LOST:
                return why
            if why is None and now - alive_at > self._patience:
                why = Reason.STUCK
            if why is not None and (reason is None or (why is Reason.STUDIO_STOPS and reason is not why)):
                reason, kill_at = why, now + self._end(process, why)
            if reason is Reason.STUDIO_STOPS or now - looked_at < _LOOK_SECONDS:
                continue  # a studio that stops leaves no time for anything else
            looked_at = now
            with self._database_may_be_away():
                self._report(self._handler.poll(self._job))
            found = (self._written, _size(self._job.log), _size(self._job.progress_file))
            if found != signs:
                signs, alive_at = found, now

    def _why_end(self) -> Reason | None:
        if self._lost.is_set():
            return Reason.LOST
        if self._stopping.is_set():
            return Reason.STUDIO_STOPS
        return Reason.CANCELLED if self._cancelled.is_set() else None

    def _end(self, process: subprocess.Popen[bytes], reason: Reason) -> float:
        """Ask it to end; returns the seconds that it gets for that."""
        self._say({Reason.CANCELLED: "cancelled", Reason.STUCK: "no sign of life"}.get(reason, "the studio stops"))
        with contextlib.suppress(ProcessLookupError):
            if self._handler.ends_in_order:
                process.terminate()  # it alone: its helpers must live until the checkpoint is saved
            else:
                os.killpg(process.pid, signal.SIGTERM)
        if reason is Reason.STUDIO_STOPS:
            return _STUDIO_STOPS_SECONDS
        return self._handler.grace if reason is Reason.CANCELLED else _STUCK_GRACE_SECONDS

    def _keeper(self, *, until: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._keep, args=(until,), name="lease", daemon=True)
        thread.start()
        return thread

    def _keep(self, until: threading.Event) -> None:
        """Renew the lease and see what is asked of the job, beside whatever the handler does."""
        job, lease, renewed = self._job, self._studio.settings.lease_seconds, time.monotonic()
        while not until.wait(_LOOK_SECONDS):
            try:
                if time.monotonic() - renewed > lease / 3:
                    with self._studio.db.transaction() as db:
                        repository.renew(db, job.id, job.attempt, lease_seconds=lease)
                    renewed = time.monotonic()
                with self._studio.db.transaction(write=False) as db:
                    if repository.state(db, job.id, job.attempt) is JobState.CANCELLING:
                        row = repository.get(db, job.id)
                        self._cancel_cause = None if row is None else row.cause
                        self._cancelled.set()
            except LostError:
                if not self._closed.is_set():
                    self._lost.set()
                return
            except SQLAlchemyError:  # away for a moment: the lease lasts for three tries
                continue

    def _report(self, progress: Progress | None) -> None:
        if progress is None or progress == self._written:
            return
        if not self._parts or self._parts[-1][1] != progress.done:
            if self._parts and progress.done < self._parts[-1][1]:
                self._parts.clear()
            self._parts.append((time.monotonic(), progress.done))
            if len(self._parts) == 3 and self._written is not None and self._parts[0][1] == 0:
                self._parts.popleft()  # what comes before the first part (loading) is no measure for the others
        (first, begun), (last, done) = self._parts[0], self._parts[-1]
        pace = (last - first) / (done - begun) if done > begun else None
        with self._studio.db.transaction() as db:
            repository.progress(
                db,
                self._job.id,
                self._job.attempt,
                done=progress.done,
                total=progress.total,
                note=progress.note,
                pace=pace,
            )
        self._written = progress
        events.publish(self._studio, "job", self._job.id)

    def _failed(self, failure: Failure) -> _End:
        if failure.final:
            return _End(state=JobState.FAILED, cause=failure.cause)
        return _End(state=JobState.QUEUED, cause=failure.cause)

    def _close(self, end: _End) -> None:
        """Write the end; the reconciler takes the job back if that cannot be done."""
        self._say(f"{end.state.value}{': ' + end.cause if end.cause else ''}")
        if end.state.over:
            shutil.rmtree(self._studio.settings.folder.held(self._job.id), ignore_errors=True)
        if not self._stopping.is_set():  # who stops has no time for a store that does not answer
            share_log(self._studio, self._job.log)
        deadline = time.monotonic() + (_STUDIO_STOPS_SECONDS if self._stopping.is_set() else _LAST_WRITE_SECONDS)
        while True:
            try:
                self._write_end(end)
                break
            except LostError:
                return
            except SQLAlchemyError:
                if time.monotonic() > deadline:
                    self._say("the database cannot be reached; the job is taken back when its lease is over")
                    return
                time.sleep(0.5)
        events.publish(self._studio, "job", self._job.id)

    def _write_end(self, end: _End) -> None:
        job = self._job
        with self._studio.db.transaction() as db:
            row = repository.get(db, job.id)
            assert row is not None
            state, cause, fruitless = end.state, end.cause, row.attempts_without_progress
            if state is JobState.QUEUED and row.state is JobState.CANCELLING:
                state, cause = JobState.CANCELLED, row.cause
            elif state is JobState.QUEUED and not end.counts:
                fruitless = max(0, fruitless - 1)
            elif state is JobState.QUEUED and fruitless >= repository.MAX_ATTEMPTS_WITHOUT_PROGRESS:
                state = JobState.FAILED
            elif state is JobState.QUEUED:
                cause = f"attempt {job.attempt} failed: {cause}; {self._handler.resumes}"
            repository.close(
                db,
                job.id,
                job.attempt,
                state=state,
                cause=cause,
                result=end.result,
                attempts_without_progress=fruitless,
                finished_at=database_now(db) if state.over else None,
            )
        if state is JobState.FAILED and end.state is JobState.QUEUED:
            with self._errors_to_log():
                self._handler.clean(job)

    @contextlib.contextmanager
    def _database_may_be_away(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self._say(f"the database does not answer: {' '.join(str(error).split())[:200]}")

    @contextlib.contextmanager
    def _errors_to_log(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._say(traceback.format_exc())

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError), self._job.log.open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {text}\n")


def _failure_of(error: Exception) -> Failure:
    """Of the handler itself."""
    if isinstance(error, UnavailableError):
        return Failure(cause=error.message, final=False)
    if isinstance(error, UserError | ApiError):
        return Failure(cause=str(error), final=True)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Failure(cause=DISK_FULL, final=True)
    if isinstance(error, SQLAlchemyError):
        return Failure(cause=f"the database could not be used: {' '.join(str(error).split())[:300]}", final=False)
    last = " ".join(traceback.format_exception_only(error)[-1].split())
    return Failure(cause=f"the studio failed at it, which is a defect of the studio: {last[:500]}", final=False)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Also what its leader left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(run(Settings(), sys.argv[1]))
