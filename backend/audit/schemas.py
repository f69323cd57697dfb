"""The audit log."""

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from backend.core.paging import PageIn
from backend.core.schemas import Out


class AuditIn(PageIn):
    """search: in the action and the person's name. action: its beginning, "episode." say. since, until: both in it."""

    descending: bool = True
    subject: str | None = Field(None, max_length=64)
    user_id: str | None = Field(None, max_length=32)
    action: str | None = Field(None, max_length=64)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class AuditOut(Out):
    id: str
    created_at: datetime
    user_id: str | None
    user_name: str | None
    action: str
    subject: str | None
    detail: dict[str, Any]


class WrittenOut(Out):
    """written: whether an entry that was to be made after the deed is in the log."""

    written: bool
