"""Puts right what crashes and lost messages leave: expired leases, wake-ups that got lost, queues nobody serves.

Idempotent; runs in every API and worker process at once without harm.
"""

import threading
from typing import Any

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend import events
from backend.context import Studio
from backend.db import utc_now
from backend.jobs import repository
from backend.jobs.models import Job, JobState
from backend.jobs.workers import JobQueue, no_worker_cause, queue_of, waiting_calls, wake, with_no_worker

_CALL_AGAIN_SECONDS = 3.0  # a job queued for shorter was probably just announced
_CALLS = 8  # wake-ups sent at once; each woken worker goes on until nothing is queued
VANISHED = "the worker that ran it vanished"

_log = structlog.get_logger(__name__)


def reconcile(studio: Studio) -> None:
    """One round. Raises SQLAlchemyError if the database cannot be reached."""
    with studio.db.transaction(write=False) as db:
        expired = bool(repository.expired(db))
        queued = repository.queued(db)
    if expired:
        with studio.db.transaction() as db:
            for job in repository.expired(db):
                _take_back(db, studio, job)
    for queue in JobQueue:
        waiting = [job for job in queued if queue_of(job.kind) is queue]
        if waiting:
            _explain(studio, queue, waiting)
            _call(studio, queue, waiting)


def _take_back(db: Session, studio: Studio, job: Job) -> None:
    """Of an attempt whose lease is over: queue the job again, or end it."""
    ended: dict[str, Any] = {"lease_until": None, "owner": None}
    if job.state is JobState.CANCELLING:
        values = {**ended, "state": JobState.CANCELLED, "finished_at": utc_now()}
    elif job.barren >= repository.BARREN_ATTEMPTS:
        cause = f"{VANISHED}, {job.barren} times in a row without progress; see its log, and the memory of the machine"
        values = {**ended, "state": JobState.FAILED, "cause": cause, "finished_at": utc_now()}
    else:
        values = {**ended, "state": JobState.QUEUED, "cause": f"interrupted: {VANISHED}; it goes on by itself"}
    if repository.change_if(db, job, values=values):
        _log.warning("job.lease_over", job=job.id, attempt=job.attempt, state=job.state.value)
        events.publish_after_commit(db, studio, "job", job.id)


def _explain(studio: Studio, queue: JobQueue, waiting: list[Job]) -> None:
    """Let the waiting jobs say whether anybody is there to run them."""
    nobody = no_worker_cause(studio, queue)
    wrong = [job.id for job in waiting if job.cause != with_no_worker(job.cause, nobody)]
    if not wrong:
        return
    with studio.db.transaction() as db:
        for job in repository.by_ids(db, wrong):
            values = {"cause": with_no_worker(job.cause, nobody)}
            if job.state is JobState.QUEUED and repository.change_if(db, job, values=values):
                events.publish_after_commit(db, studio, "job", job.id)


def _call(studio: Studio, queue: JobQueue, waiting: list[Job]) -> None:
    """Wake workers up again, unless calls lie in the broker that nobody has taken yet."""
    now = utc_now()
    old = [job for job in waiting if (now - job.created_at).total_seconds() > _CALL_AGAIN_SECONDS]
    try:
        if not old or waiting_calls(studio, queue):
            return
    except redis.RedisError:
        return
    for job in old[:_CALLS]:
        wake(studio, job.id, job.kind)


class Reconciler:
    """A thread that reconciles every third of a lease (ten seconds) until `stop`."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a round that is under way, a few seconds at most."""
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                reconcile(self._studio)
            except SQLAlchemyError as error:
                _log.warning("reconcile.failed", error=" ".join(str(error).split())[:200])
            self._stopped.wait(self._studio.settings.lease_seconds / 3)
