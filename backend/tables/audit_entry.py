"""Who did what, when: only ever added to, in the transaction of the deed."""

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class AuditEntry(Identified, Base):
    """`action` is domain.verb, for example "episode.publish"; `subject` the id of what it was done to."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_created_at_id", "created_at", "id"),)

    user_id: Mapped[str | None] = mapped_column(String(32), index=True)
    user_name: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(64), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
