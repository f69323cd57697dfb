"""Runs: trainings as they were asked for."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class Run(Identified, Base):
    """A training run; its files lie at DataFolder.run(id). spec: the whole TrainSpec, paths of this machine included.

    sources: [{"version_id", "weight"}]; base_model_id, expert_id (models) and parent_id (checkpoints) are what it
    starts from; origin keeps their names and hashes, also after they are forgotten. git: revision of the program that
    trained, where it ran from a checkout. request: the RunIn that it came from.
    """

    __tablename__ = "runs"

    name: Mapped[str] = mapped_column(String(128))
    stage: Mapped[int]
    preset: Mapped[str | None] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]
    sources: Mapped[list[Any]]
    base_model_id: Mapped[str | None] = mapped_column(String(32))
    expert_id: Mapped[str | None] = mapped_column(String(32))
    parent_id: Mapped[str | None] = mapped_column(String(32))
    origin: Mapped[dict[str, Any]] = mapped_column(default=dict)
    request: Mapped[dict[str, Any]] = mapped_column(default=dict)
    git: Mapped[str | None] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    created_by: Mapped[str | None] = mapped_column(String(32))
    deleted_at: Mapped[datetime | None]
