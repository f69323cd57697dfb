"""Puts right what crashes and lost messages leave: expired leases, wake-ups that got lost, queues nobody serves.

Idempotent; runs in every API and worker process at once without harm.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
import structlog
from sqlalchemy.orm import Session

from backend.core.db import database_now
from backend.core.periodic import Periodic
from backend.jobs import repository
from backend.jobs.workers import JobQueue, missing_for, queue_of, waiting_calls, wake
from backend.studio import events
from backend.studio.context import Studio
from backend.tables.job import Job, JobState

_CALLS = 8  # wake-ups sent at once; each woken worker goes on until nothing is queued
VANISHED = "the worker that ran it vanished"

_log = structlog.get_logger(__name__)


class Leases:
    """Which of the leases that look over are over. A lease is measured by the database's clock, and that may jump: an
    hour forward, and every lease looks over though its worker renews it; back, and one whose worker is dead ends in an
    hour. So one that has ended, or ends later than any lease can, counts as over when nobody has renewed it for half a
    lease of this process's own time: workers renew at each third."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._half, self._clock = seconds / 2, clock
        self._seen: dict[str, tuple[tuple[int, float | None], float]] = {}

    @property
    def in_doubt(self) -> bool:
        """Whether some looked over at the last look."""
        return bool(self._seen)

    def over(self, jobs: Sequence[Job]) -> set[str]:
        """Ids of those of `jobs`, all that look over now, that are."""
        now, seen = self._clock(), self._seen
        self._seen = {}
        for job in jobs:
            lease = (job.attempt, job.lease_until)
            before, since = seen.get(job.id, (None, now))
            self._seen[job.id] = (lease, since if before == lease else now)
        return {job_id for job_id, (_, since) in self._seen.items() if now - since >= self._half}


def reconcile(studio: Studio, leases: Leases) -> None:
    """One round. Raises SQLAlchemyError if the database cannot be reached."""
    lease_seconds = studio.settings.lease_seconds
    with studio.db.transaction(write=False) as db:
        over = leases.over(repository.look_over(db, lease_seconds=lease_seconds))
        queued = repository.queued(db)
    if over:
        with studio.db.transaction() as db:
            for job in repository.look_over(db, lease_seconds=lease_seconds):
                if job.id in over:
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
        values = {**ended, "state": JobState.CANCELLED, "finished_at": database_now(db)}
    elif job.attempts_without_progress >= repository.MAX_ATTEMPTS_WITHOUT_PROGRESS:
        times = job.attempts_without_progress
        cause = f"{VANISHED}, {times} times in a row without progress; see its log, and the memory of the machine"
        values = {**ended, "state": JobState.FAILED, "cause": cause, "finished_at": database_now(db)}
    else:
        values = {**ended, "state": JobState.QUEUED, "cause": f"interrupted: {VANISHED}; it goes on by itself"}
    if repository.change_if(db, job, values=values):
        _log.warning("job.lease_over", job=job.id, attempt=job.attempt, state=job.state.value)
        events.publish_after_commit(db, studio, "job", job.id)


def _explain(studio: Studio, queue: JobQueue, waiting: list[Job]) -> None:
    """Let the waiting jobs say whether anybody is there to run them."""
    missing = missing_for(studio, queue)
    wrong = [job.id for job in waiting if job.missing is not missing]
    if not wrong:
        return
    with studio.db.transaction() as db:
        for job in repository.by_ids(db, wrong):
            if job.state is JobState.QUEUED and repository.change_if(db, job, values={"missing": missing}):
                events.publish_after_commit(db, studio, "job", job.id)


def _call(studio: Studio, queue: JobQueue, waiting: list[Job]) -> None:
    """Wake workers up again, unless calls lie in the broker that nobody has taken yet. One too many harms nobody."""
    try:
        if waiting_calls(studio, queue):
            return
    except redis.RedisError:
        return
    for job in waiting[:_CALLS]:
        wake(studio, job.id, job.kind)


def reconciler(studio: Studio) -> Periodic:
    """A thread that reconciles every third of a lease (ten seconds)."""
    leases = Leases(studio.settings.lease_seconds)
    every = studio.settings.lease_seconds / 3

    def work() -> float:
        reconcile(studio, leases)
        return every / 4 if leases.in_doubt else every

    return Periodic("reconcile", work, every_seconds=every)
