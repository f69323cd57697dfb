"""Edits of episodes: what was made of which, by whom, and whether it was undone."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified


class EditAction(StrEnum):
    """What people ask for. The first seven make new files; move and copy share the file, delete makes nothing."""

    KEEP = "keep"
    CUT = "cut"
    TRIM_IDLE = "trim_idle"
    DROP_IDLE = "drop_idle"
    SPLIT = "split"
    JOIN = "join"
    RENAME = "rename"
    MOVE = "move"
    COPY = "copy"
    DELETE = "delete"


class EpisodeEdit(Identified, Base):
    """One edit. dataset_id: of the sources, target_id: of the results.

    items: [{"sources": [episode ids], "result": episode id or None, "edit": dexvla.spec.Edit as JSON or None}]: what is
    to be made. sources: [{"episode_id", "number"}]. results, once it is done: [{"episode_id", "number", "steps",
    "marks"}], where marks say how the labels were carried, by which later work on them is noticed.
    """

    __tablename__ = "episode_edits"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    target_id: Mapped[str] = mapped_column(String(32), index=True)
    job_id: Mapped[str | None] = mapped_column(String(32))
    action: Mapped[EditAction] = mapped_column(EnumText(EditAction))
    items: Mapped[list[Any]]
    sources: Mapped[list[Any]]
    results: Mapped[list[Any]] = mapped_column(default=list)
    by_id: Mapped[str | None] = mapped_column(String(32))
    by_name: Mapped[str | None] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]
    undone_by_name: Mapped[str | None] = mapped_column(String(64))

    @property
    def sets_aside(self) -> bool:
        """Whether its sources are hidden once it is done."""
        return self.action is not EditAction.COPY
