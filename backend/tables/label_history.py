"""Drafts as they were at moments that matter."""

from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified
from backend.tables.document import Document, Tier


class HistoryKind(StrEnum):
    """Why a state of a draft was kept."""

    SAVED = "saved"
    TAKEN_OVER = "taken_over"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    REOPENED = "reopened"
    PUBLISHED = "published"
    RENAMED = "renamed"
    TEMPLATE = "template"
    IMPORTED = "imported"
    ROLLED_BACK = "rolled_back"
    UNDONE = "undone"
    FACTS = "facts"


class LabelHistory(Identified, Document, Base):
    """A draft as it was at a moment that matters, and who did what then. Only ever added to.

    texts, labelled_steps, accepted, edited: of a submission, its segments with a text, their steps, and the segments
    that a machine proposed and a person took or changed. The second index answers the figures about people alone.
    """

    __tablename__ = "label_history"
    __table_args__ = (
        Index("ix_label_history_episode_id_tier_rater", "episode_id", "tier", "rater"),
        Index("ix_label_history_figures", "dataset_id", "kind", "created_at", "tier", "by_id", "about_id"),
    )

    dataset_id: Mapped[str] = mapped_column(String(32))
    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    rater: Mapped[int]
    edit: Mapped[int]
    kind: Mapped[HistoryKind] = mapped_column(EnumText(HistoryKind))
    by_id: Mapped[str | None] = mapped_column(String(32), index=True)
    by_name: Mapped[str | None] = mapped_column(String(64))
    about_id: Mapped[str | None] = mapped_column(String(32))  # whose work was approved or rejected
    comment: Mapped[str] = mapped_column(Text, default="")
    texts: Mapped[int | None]
    labelled_steps: Mapped[int | None]
    accepted: Mapped[int | None]
    edited: Mapped[int | None]
