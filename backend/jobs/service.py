"""Queue jobs, tell how far they are, cancel and resume them, read their logs."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import after_commit, database_now
from backend.core.errors import ConflictError, NotFoundError
from backend.core.paging import CursorPage
from backend.core.schemas import Page
from backend.identity.actor import Actor
from backend.jobs import repository
from backend.jobs.kinds import kind_of
from backend.jobs.schemas import JobOut, JobsIn, LogChunk
from backend.jobs.workers import JobQueue, missing_for, queue_of, wake
from backend.store.small import key_of
from backend.studio import events
from backend.studio.context import Studio
from backend.tables.job import Job, JobKind, JobState, Missing

_MISSING = {
    Missing.BROKER: "the broker cannot be reached; the job starts when it is back",
    Missing.TRAINING_WORKER: "no training worker is running; the job starts when one is (`studio worker`)",
    Missing.WORKER: "no worker is running; the job starts when one is (`studio worker`)",
}
_UTF8_MORE = 3  # bytes of a UTF-8 character after its first


def enqueue(
    db: Session,
    studio: Studio,
    me: Actor | None,
    *,
    kind: JobKind,
    title: str,
    payload: BaseModel | dict[str, Any],
    subject_id: str | None = None,
    total: int | None = None,
) -> Job:
    """Add a job; a worker is woken up once the transaction is committed.

    Raises pydantic.ValidationError for a payload that is not one of `kind`.
    """
    given = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else payload
    job = Job(
        kind=kind,
        title=title[:256],
        subject_id=subject_id,
        payload=kind_of(kind).payload.model_validate(given).model_dump(mode="json"),
        missing=missing_for(studio, queue_of(kind)),
        total=total,
        created_by=me and me.id,
    )
    db.add(job)
    db.flush()
    record(db, me, "job.enqueue", job.id, kind=kind.value, title=job.title, of=subject_id)
    _announce(db, studio, job)
    return job


def newest(db: Session, *, kind: JobKind | None, subject_id: str | None, active: bool, limit: int) -> Page[JobOut]:
    rows, total = repository.newest(db, kind=kind, subject_id=subject_id, active=active, limit=limit)
    return Page(items=_outs(db, rows), total=total)


def page(db: Session, asked: JobsIn) -> CursorPage[JobOut]:
    rows, cursor, total = repository.page(db, asked)
    return CursorPage(items=_outs(db, rows), next=cursor, total=total)


def job(db: Session, job_id: str) -> JobOut:
    return job_out(db, _found(db, job_id))


def jobs_out(db: Session, ids: Collection[str]) -> dict[str, JobOut]:
    """The jobs of these ids that exist, in one go."""
    return {out.id: out for out in _outs(db, repository.by_ids(db, ids))}


def job_out(db: Session, job: Job) -> JobOut:
    return _outs(db, [job])[0]


def _outs(db: Session, rows: Sequence[Job]) -> list[JobOut]:
    names = repository.user_names(db, {row.created_by for row in rows if row.created_by})
    positions = _positions(db) if any(row.state is JobState.QUEUED for row in rows) else {}
    now = database_now(db)
    outs = []
    for row in rows:
        out = JobOut.model_validate(row)
        out.cause = _cause(row)
        out.queue_position = positions.get(row.id)
        out.seconds_left = seconds_left(row, now)
        out.created_by_name = names.get(row.created_by or "")
        outs.append(out)
    return outs


def _cause(job: Job) -> str | None:
    """Why the job is in its state, and what it waits for if it does."""
    missing = _MISSING[job.missing] if job.state is JobState.QUEUED and job.missing is not None else None
    return "; ".join(filter(None, (job.cause, missing))) or None


def _positions(db: Session) -> dict[str, int]:
    """Place in its queue, 1 is next; workers take jobs in this order."""
    places: dict[str, int] = {}
    counts = dict.fromkeys(JobQueue, 0)
    for waiting in repository.queued(db):
        queue = queue_of(waiting.kind)
        counts[queue] += 1
        places[waiting.id] = counts[queue]
    return places


def seconds_left(job: Job, now: datetime) -> float | None:
    """By the pace of the last parts; None before there is one. Not below zero when a part takes longer than usual."""
    if job.state is not JobState.RUNNING or job.pace is None or job.total is None or job.progress_at is None:
        return None
    parts = max(0, job.total - job.done)
    since = max(0.0, (now - job.progress_at).total_seconds())  # below zero: the clock was set back
    return max(0.0, parts * job.pace - since)


def cancel(db: Session, me: Actor, studio: Studio, job_id: str) -> JobOut:
    """A queued job is cancelled at once, a running one as soon as its process has ended. Cancelling twice is fine.

    Raises NotFoundError, and ConflictError for a job that is over.
    """
    job = _found(db, job_id)
    cause = f"cancelled by {me.name}"
    changed = False
    while not changed and job.state in {JobState.QUEUED, JobState.RUNNING}:  # a worker may take or end it meanwhile
        if job.state is JobState.QUEUED:
            values = {"state": JobState.CANCELLED, "cause": cause, "finished_at": database_now(db)}
        else:
            values = {"state": JobState.CANCELLING, "cause": cause}
        changed = repository.change_if(db, job, values=values)
    if not changed and job.state.over:
        raise ConflictError(f"The job is over ({job.state.value}); there is nothing to cancel.")
    if changed:
        record(db, me, "job.cancel", job.id, kind=job.kind, title=job.title)
        _publish(db, studio, job)
    return job_out(db, job)


def resume(db: Session, me: Actor, studio: Studio, job_id: str) -> JobOut:
    """Queue a failed or cancelled job again.

    Raises NotFoundError, and ConflictError for a job in another state or a training whose checkpoint is gone.
    """
    job = _found(db, job_id)
    before_resume = kind_of(job.kind).before_resume
    if before_resume is not None and job.state.over:
        before_resume(db, job.id)
    values = {
        "state": JobState.QUEUED,
        "cause": None,
        "missing": missing_for(studio, queue_of(job.kind)),
        "attempts_without_progress": 0,
        "finished_at": None,
    }
    resumable = job.state in {JobState.FAILED, JobState.CANCELLED}
    if not resumable or not repository.change_if(db, job, values=values):
        raise ConflictError(f"The job is {job.state.value}; only a failed or cancelled one can be resumed.")
    record(db, me, "job.resume", job.id, kind=job.kind, title=job.title)
    _announce(db, studio, job)
    return job_out(db, job)


def log(db: Session, studio: Studio, job_id: str, *, offset: int, limit: int) -> LogChunk:
    """At most `limit` bytes of the log from `offset` on (negative: from its end), cut between characters.

    An offset past the end gives no text. Raises NotFoundError for an unknown job; a job that never ran has no log yet.
    """
    _found(db, job_id)
    path = studio.settings.folder.job(job_id) / "log.txt"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = min(size, offset) if offset >= 0 else max(0, size + offset)
            file.seek(start)
            data = file.read(limit)
    except FileNotFoundError:
        # of a machine that shares no folder with this one: as it was when an attempt ended there
        key = key_of(studio.settings.data, path)
        size = (studio.store.size(key) if studio.store.remote else None) or 0
        start = min(size, offset) if offset >= 0 else max(0, size + offset)
        data = b"".join(studio.store.read(key, start, min(size, start + limit))) if size else b""
    if not size:
        return LogChunk(text="", offset=0, next_offset=0, size=0)
    skipped = 0
    while skipped < min(_UTF8_MORE, len(data)) and data[skipped] & 0xC0 == 0x80:
        skipped += 1
    end = len(data) if start + len(data) == size and len(data) < limit else _whole_characters(data)
    text = data[skipped:end].decode(errors="replace")
    return LogChunk(text=text, offset=start + skipped, next_offset=start + max(end, skipped), size=size)


def _whole_characters(data: bytes) -> int:
    """Length of `data` without a character at its end that is cut off."""
    for back in range(1, min(_UTF8_MORE + 1, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) if needed <= back else len(data) - back
    return len(data)


def _found(db: Session, job_id: str) -> Job:
    job = repository.get(db, job_id)
    if job is None:
        raise NotFoundError("There is no such job; it may have been deleted.")
    return job


def _announce(db: Session, studio: Studio, job: Job) -> None:
    job_id, kind = job.id, job.kind
    after_commit(db, lambda: wake(studio, job_id, kind))
    _publish(db, studio, job)


def _publish(db: Session, studio: Studio, job: Job) -> None:
    events.publish_after_commit(db, studio, "job", job.id)
