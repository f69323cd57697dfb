"""Jobs: the row is the truth; the broker only wakes workers up."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Double, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified


class JobKind(StrEnum):
    """What a job does. `preflight` looks at a run without starting it."""

    RECORD = "record"
    IMPORT = "import"
    MEASURE = "measure"
    INIT_MODEL = "init_model"
    PREFLIGHT = "preflight"
    TRAIN = "train"
    EVALUATE = "evaluate"
    EXPORT = "export"
    EDIT = "edit"


class JobState(StrEnum):
    """queued -> running -> done | failed | cancelled; running -> cancelling -> cancelled.

    A job whose worker stopped or vanished is queued again and goes on from its last checkpoint (`cause` says so).
    """

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class Missing(StrEnum):
    """What a queued job waits for, beside its turn."""

    BROKER = "broker"
    TRAINING_WORKER = "training_worker"
    WORKER = "worker"


class Job(Identified, Base):
    """payload: what to do, by kind (see backend.jobs.kinds). subject_id: the dataset, run, model or evaluation.

    missing: of a queued job, what has to come back before it can start; None if nothing has.
    lease_until: seconds since 1970 by the database's clock; a running job whose lease is over belongs to nobody.
    attempts_without_progress: that were begun since a step further than ever before was made; three fail the job.
    done: of this attempt, best: the furthest of all. pace: seconds that one part of `total` takes, None if not known.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state NOT IN ('running', 'cancelling') OR lease_until IS NOT NULL", name="running_jobs_have_a_lease"
        ),
        Index("ix_jobs_state_created_at", "state", "created_at"),
        Index("ix_jobs_created_at_id", "created_at", "id"),
    )

    kind: Mapped[JobKind] = mapped_column(EnumText(JobKind), index=True)
    title: Mapped[str] = mapped_column(String(256))
    subject_id: Mapped[str | None] = mapped_column(String(32), index=True)
    payload: Mapped[dict[str, Any]]
    state: Mapped[JobState] = mapped_column(EnumText(JobState), default=JobState.QUEUED)
    cause: Mapped[str | None] = mapped_column(Text)
    missing: Mapped[Missing | None] = mapped_column(EnumText(Missing))
    attempt: Mapped[int] = mapped_column(default=0)
    attempts_without_progress: Mapped[int] = mapped_column("barren", default=0)
    owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float | None] = mapped_column(Double)
    done: Mapped[int] = mapped_column(default=0)
    best: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    pace: Mapped[float | None] = mapped_column(Double)
    note: Mapped[str] = mapped_column(Text, default="")
    result: Mapped[dict[str, Any] | None]
    created_by: Mapped[str | None] = mapped_column(String(32))
    started_at: Mapped[datetime | None]
    progress_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
