"""Proposals of machines, apart from the labels."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified
from backend.tables.segment import ProposalSegment, ProposalSegments


class ProposalSource(StrEnum):
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


class ProposalState(StrEnum):
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class Proposal(Identified, Base):
    """A proposed labelling of an episode; never changed once it is ready or failed.

    segments: without gap or overlap over 0 .. steps; empty until it is ready. settings: what it was made by and with.
    report: what who looks at it should know. until: while it runs, when it has been lost with its process.
    """

    __tablename__ = "suggestions"  # so called in every database since the first proposal
    __table_args__ = (Index("ix_suggestions_episode_id_source", "episode_id", "source"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"))
    source: Mapped[ProposalSource] = mapped_column(EnumText(ProposalSource))
    state: Mapped[ProposalState] = mapped_column(EnumText(ProposalState), default=ProposalState.READY)
    segments: Mapped[tuple[ProposalSegment, ...]] = mapped_column(ProposalSegments, default=())
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str | None] = mapped_column(Text)
    until: Mapped[datetime | None]
    asked_by: Mapped[str | None] = mapped_column(String(32))
    asked_by_name: Mapped[str | None] = mapped_column(String(64))
