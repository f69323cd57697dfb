"""/api/audit."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.access.dependencies import Admin, Db, Viewer
from backend.audit import service
from backend.audit.schemas import AuditIn, AuditOut, WrittenOut
from backend.core.paging import CursorPage
from backend.core.schemas import Page

router = APIRouter(prefix="/api/audit", tags=["audit"])


@router.get("")
def list_entries(
    db: Db,
    me: Admin,
    subject: Annotated[str | None, Query(max_length=64)] = None,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[AuditOut]:
    return service.entries(db, subject=subject, offset=offset, limit=limit)


@router.get("/page")
def page_entries(db: Db, me: Admin, asked: Annotated[AuditIn, Query()]) -> CursorPage[AuditOut]:
    """A part of the log, newest first, searched and filtered here."""
    return service.page(db, asked)


@router.get("/{entry_id}/written")
def is_written(db: Db, me: Viewer, entry_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]) -> WrittenOut:
    """For whoever was told that an entry is not in the log yet: whether it is by now, and nothing of what it says."""
    return WrittenOut(written=service.is_written(db, entry_id))
