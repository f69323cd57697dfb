"""Queries of models."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.tables.base_model import RegisteredModel
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run

_OVER = [state for state in JobState if state.over]


def all_models(db: Session) -> list[RegisteredModel]:
    return list(db.scalars(select(RegisteredModel).order_by(RegisteredModel.kind, RegisteredModel.name)))


def by_name(db: Session, name: str) -> RegisteredModel | None:
    return db.scalar(select(RegisteredModel).where(RegisteredModel.name == name))


def by_path(db: Session, path: str) -> RegisteredModel | None:
    return db.scalar(select(RegisteredModel).where(RegisteredModel.path == path))


def being_made(db: Session) -> Iterable[Job]:
    return db.scalars(select(Job).where(Job.kind == JobKind.INIT_MODEL, Job.state.not_in(_OVER)))


def run_that_needs(db: Session, model_id: str) -> Run | None:
    """A run that is not over and starts from it."""
    return db.scalar(
        select(Run)
        .join(Job, Job.id == Run.job_id)
        .where(
            Run.deleted_at.is_(None),
            Job.state.not_in(_OVER),
            or_(Run.base_model_id == model_id, Run.expert_id == model_id),
        )
        .limit(1)
    )


def keep_sums(db: Session, model_id: str, files: dict[str, Any]) -> None:
    """Nothing if it has sums, or is gone."""
    row = db.get(RegisteredModel, model_id, with_for_update=True)
    if row is not None and row.files is None:
        row.files = files
