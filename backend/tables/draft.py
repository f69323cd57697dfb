"""Drafts: labels that people work on."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText
from backend.tables.document import Document, Tier


class WorkState(StrEnum):
    """Of a draft: unassigned -> claimed -> in progress -> submitted -> approved or rejected -> reopened."""

    UNASSIGNED = "unassigned"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    REOPENED = "reopened"


LEASE_SECONDS = 90.0  # pages say every 20 s that they are there


class Draft(Document, Base):
    """`edit` counts the saves: a save that names another number than the stored one is refused.

    rater 0: the labels that are published; 1: a second person's, made without seeing the first's. lease_until: seconds
    of the database's clock; lease_token tells two pages of one person apart. contributors: ids of the people whose
    saves are in it since it was last approved; none of them may approve it.
    """

    __tablename__ = "drafts"
    __table_args__ = (Index("ix_drafts_assignee_id_state", "assignee_id", "state"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), primary_key=True)
    tier: Mapped[Tier] = mapped_column(EnumText(Tier), primary_key=True, default=Tier.SUBSTEP)
    rater: Mapped[int] = mapped_column(primary_key=True, default=0, autoincrement=False)
    edit: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]
    updated_by: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[WorkState] = mapped_column(EnumText(WorkState), default=WorkState.UNASSIGNED)
    assignee_id: Mapped[str | None] = mapped_column(String(32))
    assigned_at: Mapped[datetime | None]
    contributors: Mapped[list[Any]] = mapped_column(default=list)
    submitted_by: Mapped[str | None] = mapped_column(String(32))
    submitted_at: Mapped[datetime | None]
    kept_at: Mapped[datetime | None]  # newest entry of the history
    lease_holder: Mapped[str | None] = mapped_column(String(32))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[float | None] = mapped_column(index=True)

    def held(self, now: float) -> bool:
        """Whether somebody works on it, by the database's clock. A lease that ends later than any can is from before
        that clock was set back, and says nothing until its page is heard again."""
        return self.lease_until is not None and now < self.lease_until <= now + LEASE_SECONDS


SUBMITTED_STATES = (WorkState.SUBMITTED, WorkState.APPROVED)
