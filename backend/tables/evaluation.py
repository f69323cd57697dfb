"""Evaluations of checkpoints."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class EvaluationKind(StrEnum):
    CLOSED_LOOP = "closed_loop"
    OPEN_LOOP = "open_loop"


class Evaluation(Identified, Base):
    """settings: what was asked; report: dexvla's ClosedLoopReport or OpenLoopReport once the job is done.

    Videos and plots lie at DataFolder.evaluation(id).
    """

    __tablename__ = "evaluations"

    kind: Mapped[EvaluationKind] = mapped_column(String(16))
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    version_id: Mapped[str | None] = mapped_column(String(32))
    settings: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    created_by: Mapped[str | None] = mapped_column(String(32))
    deleted_at: Mapped[datetime | None]
