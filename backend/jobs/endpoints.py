"""/api/jobs."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.core.paging import CursorPage
from backend.core.schemas import Page
from backend.jobs import service
from backend.jobs.schemas import JobOut, JobsIn, LogChunk
from backend.tables.job import JobKind

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


@router.get("")
def list_jobs(
    db: Db,
    me: Viewer,
    kind: JobKind | None = None,
    subject_id: Annotated[str | None, Query(max_length=32)] = None,
    active: Annotated[bool, Query(description="Only jobs that are not over")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[JobOut]:
    """The newest; all of them are in /api/jobs/page."""
    return service.newest(db, kind=kind, subject_id=subject_id, active=active, limit=limit)


@router.get("/page")
def page_jobs(db: Db, me: Viewer, asked: Annotated[JobsIn, Query()]) -> CursorPage[JobOut]:
    """A part of the list, searched, filtered and sorted here."""
    return service.page(db, asked)


@router.get("/{job_id}")
def get_job(db: Db, me: Viewer, job_id: str) -> JobOut:
    return service.job(db, job_id)


@router.post("/{job_id}/cancel")
def cancel_job(db: Db, me: Operator, studio: Parts, job_id: str) -> JobOut:
    return service.cancel(db, me, studio, job_id)


@router.post("/{job_id}/resume")
def resume_job(db: Db, me: Operator, studio: Parts, job_id: str) -> JobOut:
    """Queue a failed or cancelled job again; a training goes on from its last checkpoint."""
    return service.resume(db, me, studio, job_id)


@router.get("/{job_id}/log")
def get_log(
    db: Db,
    me: Viewer,
    studio: Parts,
    job_id: str,
    offset: Annotated[int, Query(ge=-(2**40), le=2**40, description="Bytes; negative counts from the end")] = -20_000,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
) -> LogChunk:
    return service.log(db, studio, job_id, offset=offset, limit=limit)
