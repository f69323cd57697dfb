"""Queries of evaluations. Deleted ones are never found."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation
from backend.tables.run import Run
from backend.tables.user import User

Found = tuple[Evaluation, Checkpoint, Run]


def _base() -> Any:  # Select's type parameters differ between SQLAlchemy 2.0 and 2.1
    return (
        select(Evaluation, Checkpoint, Run)
        .join(Checkpoint, Checkpoint.id == Evaluation.checkpoint_id)
        .join(Run, Run.id == Checkpoint.run_id)
        .where(Evaluation.deleted_at.is_(None))
    )


def evaluations(db: Session, *, checkpoint_id: str | None) -> list[Found]:
    """Newest first."""
    query = _base()
    if checkpoint_id is not None:
        query = query.where(Evaluation.checkpoint_id == checkpoint_id)
    rows = db.execute(query.order_by(Evaluation.created_at.desc(), Evaluation.id))
    return [(evaluation, checkpoint, run) for evaluation, checkpoint, run in rows]


def evaluation(db: Session, evaluation_id: str) -> Found | None:
    row = db.execute(_base().where(Evaluation.id == evaluation_id)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def checkpoint(db: Session, checkpoint_id: str) -> tuple[Checkpoint, Run] | None:
    row = db.execute(
        select(Checkpoint, Run).join(Run, Run.id == Checkpoint.run_id).where(Checkpoint.id == checkpoint_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def user_names(db: Session, ids: Collection[str]) -> dict[str, str]:
    return {row.id: row.name for row in db.execute(select(User.id, User.name).where(User.id.in_(ids)))}
