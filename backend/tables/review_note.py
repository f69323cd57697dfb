"""What reviewers say about a stretch of steps."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified
from backend.tables.document import Tier


class ReviewNote(Identified, Base):
    """What somebody says about a stretch of steps of a draft; edit: of the draft that they looked at."""

    __tablename__ = "review_notes"
    __table_args__ = (Index("ix_review_notes_episode_id_tier_rater", "episode_id", "tier", "rater"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    rater: Mapped[int]
    edit: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str | None] = mapped_column(String(32))
    author_name: Mapped[str | None] = mapped_column(String(64))
    resolved_at: Mapped[datetime | None]
    resolved_by_name: Mapped[str | None] = mapped_column(String(64))
