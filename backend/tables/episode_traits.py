"""What was measured of an episode, once."""

from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base


class EpisodeTraitsRow(Base):
    """traits: a dexvla.spec.survey.EpisodeTraits. None: the file could not be read; `error` says why."""

    __tablename__ = "episode_traits"

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int]
    traits: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
