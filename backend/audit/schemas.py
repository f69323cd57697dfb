"""The audit log."""

from datetime import datetime
from typing import Any

from backend.schemas import Out


class AuditOut(Out):
    id: str
    created_at: datetime
    user_id: str | None
    user_name: str | None
    action: str
    subject: str | None
    detail: dict[str, Any]
