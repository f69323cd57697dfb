"""The audit log."""

from datetime import datetime
from typing import Any

from backend.core.schemas import Out


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
