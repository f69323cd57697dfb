"""Labels: one draft an episode that people edit, and the revisions that were published from it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base, Identified


class Draft(Base):
    """`edit` counts the saves: a save that names another number than the stored one is refused.

    segments: [{"start", "end", "text", "provenance"}], half open, without gap or overlap over 0 .. steps.
    """

    __tablename__ = "drafts"

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), primary_key=True)
    edit: Mapped[int] = mapped_column(default=0)
    segments: Mapped[list[Any]]
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str | None] = mapped_column(String(32))


class LabelRevision(Identified, Base):
    """Never changed after it was made. `edit`: the draft's count that it was published from."""

    __tablename__ = "label_revisions"
    __table_args__ = (UniqueConstraint("episode_id", "number"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), index=True)
    number: Mapped[int]
    edit: Mapped[int]
    segments: Mapped[list[Any]]
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    published_by: Mapped[str | None] = mapped_column(String(32))
    published_by_name: Mapped[str | None] = mapped_column(String(64))
