"""Queries on jobs: the claim, the lease and the fence. The row is the truth of a job.

A job belongs to an attempt as long as the attempt's lease lasts, by the database's clock. Every later write of that
attempt names its number: whoever lost the job meanwhile changes nothing. Statements are single UPDATEs, so that two
claims at once have one winner on SQLite and on PostgreSQL.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, and_, case, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from backend.core import paging
from backend.core.db import database_now, db_seconds
from backend.core.paging import Order, contains
from backend.jobs.schemas import JobsIn, JobSort
from backend.tables.job import Job, JobKind, JobState
from backend.tables.user import User

MAX_ATTEMPTS_WITHOUT_PROGRESS = 3
_OWNED = (JobState.RUNNING, JobState.CANCELLING)
_SLACK_SECONDS = 5.0  # between the clocks of two servers of one database
_WAITING_ORDER = (Job.created_at, Job.id)


class LostError(Exception):
    """The job belongs to another attempt by now, or to nobody; whoever gets this stops and writes nothing."""


def get(db: Session, job_id: str) -> Job | None:
    return db.get(Job, job_id)


def by_ids(db: Session, ids: Collection[str]) -> Sequence[Job]:
    return db.scalars(select(Job).where(Job.id.in_(ids))).all()


def newest(
    db: Session, *, kind: JobKind | None, subject_id: str | None, active: bool, limit: int
) -> tuple[Sequence[Job], int]:
    """Newest first, and how many there are in all."""
    query = _wanted(kind=kind, subject_id=subject_id, active=active)
    total = db.scalar(select(func.count()).select_from(query.subquery())) or 0
    return db.scalars(query.order_by(Job.created_at.desc(), Job.id).limit(limit)).all(), total


def page(db: Session, asked: JobsIn) -> tuple[list[Job], str | None, int | None]:
    """(jobs, next cursor, total)."""
    query = _wanted(kind=asked.kind, subject_id=asked.subject_id, active=asked.active)
    if asked.state is not None:
        query = query.where(Job.state == asked.state)
    if asked.search:
        query = query.outerjoin(User, User.id == Job.created_by)
        query = query.where(contains(Job.title + " " + func.coalesce(User.name, ""), asked.search))
    columns: dict[JobSort, SQLColumnExpression[Any]] = {
        JobSort.CREATED: Job.created_at,
        JobSort.TITLE: func.lower(Job.title),
        JobSort.KIND: func.lower(Job.kind, type_=Text),
    }
    order = Order(
        name=asked.sort.value,
        column=columns[asked.sort],
        id=Job.id,
        descending=asked.descending,
        then=None if asked.sort is JobSort.CREATED else Job.created_at,
    )
    narrow = "Choose a kind, or those that are not over."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [row[0] for row in rows], cursor, total


def _wanted(*, kind: JobKind | None, subject_id: str | None, active: bool) -> Select[Job]:
    query = select(Job)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if subject_id is not None:
        query = query.where(Job.subject_id == subject_id)
    if active:
        query = query.where(Job.state.in_([state for state in JobState if not state.over]))
    return query


def user_names(db: Session, ids: Collection[str]) -> dict[str, str]:
    rows = db.execute(select(User.id, User.name).where(User.id.in_(ids)))
    return {row.id: row.name for row in rows}


def queued(db: Session) -> Sequence[Job]:
    """All waiting jobs, next one first."""
    return db.scalars(select(Job).where(Job.state == JobState.QUEUED).order_by(*_WAITING_ORDER)).all()


def next_waiting(db: Session, kinds: Collection[JobKind], *, skip: Collection[str] = ()) -> str | None:
    """The job of these kinds that a free worker should take."""
    query = select(Job.id).where(Job.kind.in_(kinds), Job.state == JobState.QUEUED, Job.id.not_in(skip))
    return db.scalar(query.order_by(*_WAITING_ORDER).limit(1))


def claim(db: Session, job_id: str, *, owner: str, lease_seconds: float = 30.0) -> Job | None:
    """Take a queued job, or a running one whose lease is over. None if somebody else has it, or it is over."""
    now = database_now(db)
    free = or_(Job.state == JobState.QUEUED, and_(Job.state == JobState.RUNNING, Job.lease_until < db_seconds()))
    statement = (
        update(Job)
        .where(Job.id == job_id, free, Job.attempts_without_progress < MAX_ATTEMPTS_WITHOUT_PROGRESS)
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            attempts_without_progress=Job.attempts_without_progress + 1,
            owner=owner,
            lease_until=db_seconds() + lease_seconds,
            cause=None,
            missing=None,
            pace=None,
            result=None,
            started_at=now,
            progress_at=now,
            finished_at=None,
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if db.scalar(statement) is None:
        return None
    return db.get(Job, job_id, populate_existing=True)


def renew(db: Session, job_id: str, attempt: int, *, lease_seconds: float) -> None:
    """Keep the job for another lease. Raises LostError."""
    _write(db, job_id, attempt, {"lease_until": db_seconds() + lease_seconds})


def state(db: Session, job_id: str, attempt: int) -> JobState:
    """RUNNING or CANCELLING. Raises LostError for a job that is no longer this attempt's."""
    found = db.scalar(select(Job.state).where(_owned(job_id, attempt)))
    if found is None:
        raise LostError(job_id)
    return JobState(found)


def assert_owned(db: Session, job_id: str, attempt: int) -> None:
    """Raises LostError; else holds the row until the transaction ends, so that nobody takes it in between."""
    if db.scalar(select(Job.id).where(_owned(job_id, attempt)).with_for_update()) is None:
        raise LostError(job_id)


def progress(
    db: Session, job_id: str, attempt: int, *, done: int, total: int | None, note: str, pace: float | None
) -> None:
    """Raises LostError. A part further than ever before makes the attempt one with progress."""
    further = Job.best < done
    _write(
        db,
        job_id,
        attempt,
        {
            "done": done,
            "total": total,
            "note": note,
            "pace": pace,
            "best": case((further, done), else_=Job.best),
            "attempts_without_progress": case((further, 0), else_=Job.attempts_without_progress),
            "progress_at": database_now(db),
        },
    )


def close(db: Session, job_id: str, attempt: int, **values: Any) -> None:
    """Write the end of an attempt (state, cause, result ...) and give the job back. Raises LostError."""
    _write(db, job_id, attempt, {"lease_until": None, "owner": None, **values})


def _owned(job_id: str, attempt: int) -> Any:
    return and_(Job.id == job_id, Job.attempt == attempt, Job.state.in_(_OWNED))


def _write(db: Session, job_id: str, attempt: int, values: Mapping[str, Any]) -> None:
    statement = update(Job).where(_owned(job_id, attempt)).values(**values).returning(Job.id)
    if db.scalar(statement.execution_options(synchronize_session=False)) is None:
        raise LostError(job_id)


def look_over(db: Session, *, lease_seconds: float) -> Sequence[Job]:
    """Jobs that somebody runs, and whose lease is over by the clock or ends later than any lease can."""
    no_lease = or_(Job.lease_until < db_seconds(), Job.lease_until > db_seconds() + lease_seconds + _SLACK_SECONDS)
    return db.scalars(select(Job).where(Job.state.in_(_OWNED), no_lease)).all()


def change_if(db: Session, job: Job, *, values: Mapping[str, Any]) -> bool:
    """Write `values` if state, attempt and lease are still what `job` says; False if somebody was faster."""
    same_lease = Job.lease_until.is_(None) if job.lease_until is None else Job.lease_until == job.lease_until
    statement = (
        update(Job)
        .where(Job.id == job.id, Job.state == job.state, Job.attempt == job.attempt, same_lease)
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    changed = db.scalar(statement) is not None
    db.refresh(job)
    return changed
