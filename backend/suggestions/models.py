"""Proposals of machines, apart from the labels, and what people made of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base, EnumText, Identified


class SuggestionSource(StrEnum):
    """Of boundaries: mark (made while driving), gripper, speed, change (read from the motion), scripted and imported
    too. Of whole labellings: scripted (the expert's own substeps), imported (what a file brought), template (a known
    sequence put onto the boundaries), similar (taken over from similar episodes), vision (a vision-language model)."""

    MARK = "mark"
    GRIPPER = "gripper"
    SPEED = "speed"
    CHANGE = "change"
    SCRIPTED = "scripted"
    IMPORTED = "imported"
    TEMPLATE = "template"
    SIMILAR = "similar"
    VISION = "vision"


class SuggestionState(StrEnum):
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class Verdict(StrEnum):
    """edited: taken with another text or another boundary."""

    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


class Suggestion(Identified, Base):
    """A proposed labelling of an episode; never changed once it is ready or failed.

    segments: [{"start", "end", "text", "confidence"}], half open, without gap or overlap over 0 .. steps; empty until
    it is ready. settings: what it was made by and with. report: what who looks at it should know. until: while it runs,
    when it has been lost with its process.
    """

    __tablename__ = "suggestions"
    __table_args__ = (Index("ix_suggestions_episode_id_source", "episode_id", "source"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"))
    source: Mapped[SuggestionSource] = mapped_column(EnumText(SuggestionSource))
    state: Mapped[SuggestionState] = mapped_column(EnumText(SuggestionState), default=SuggestionState.READY)
    segments: Mapped[list[Any]] = mapped_column(default=list)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str | None] = mapped_column(Text)
    until: Mapped[datetime | None]
    asked_by: Mapped[str | None] = mapped_column(String(32))
    asked_by_name: Mapped[str | None] = mapped_column(String(64))


class SuggestionVerdict(Identified, Base):
    """What somebody made of one proposed boundary (end None) or substep. Only ever added to.

    tenth: of the confidence, 0 .. 9, for counting; None where there was none.
    """

    __tablename__ = "suggestion_verdicts"
    __table_args__ = (Index("ix_suggestion_verdicts_dataset_id_source", "dataset_id", "source"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"), index=True)
    suggestion_id: Mapped[str | None] = mapped_column(String(32))
    source: Mapped[SuggestionSource] = mapped_column(EnumText(SuggestionSource))
    verdict: Mapped[Verdict] = mapped_column(EnumText(Verdict))
    confidence: Mapped[float | None]
    tenth: Mapped[int | None]
    start: Mapped[int]
    end: Mapped[int | None]
    text: Mapped[str | None] = mapped_column(Text)
    by_id: Mapped[str | None] = mapped_column(String(32))
