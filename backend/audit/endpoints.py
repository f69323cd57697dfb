"""/api/audit."""

from typing import Annotated

from fastapi import APIRouter, Query

from backend.access import Admin, Db
from backend.audit import service
from backend.audit.schemas import AuditOut
from backend.schemas import Page

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
