"""Queries of evaluations. Deleted ones are never found."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Float, SQLColumnExpression, Text, case, cast, func, select
from sqlalchemy.orm import Session

from backend.core import paging
from backend.core.paging import Order, contains, elements
from backend.evaluations.schemas import EvaluationsIn, EvaluationSort
from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobState
from backend.tables.run import Run
from backend.tables.user import User

_OVER = [state for state in JobState if state.over]
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
    rows = db.execute(query.order_by(Evaluation.created_at.desc(), Evaluation.id).limit(paging.MOST_AT_ONCE))
    return [(evaluation, checkpoint, run) for evaluation, checkpoint, run in rows]


def page(db: Session, asked: EvaluationsIn) -> tuple[list[Found], str | None, int | None]:
    """(evaluations, next cursor, total)."""
    query = _base().join(Job, Job.id == Evaluation.job_id)
    for column, value in (
        (Evaluation.kind, asked.kind),
        (Evaluation.checkpoint_id, asked.checkpoint_id),
        (Checkpoint.run_id, asked.run_id),
        (Job.state, asked.state),
    ):
        if value is not None:
            query = query.where(column == value)
    if asked.id:
        query = query.where(Evaluation.id.in_(asked.id))
    if asked.search:
        query = query.where(contains(Run.name + ", step " + cast(Checkpoint.step, Text), asked.search))
    columns: dict[EvaluationSort, SQLColumnExpression[Any]] = {
        EvaluationSort.ACTIVE: Evaluation.created_at,
        EvaluationSort.CREATED: Evaluation.created_at,
        EvaluationSort.RUN: func.lower(Run.name),
        EvaluationSort.RESULT: _result(db),
    }
    order = Order(
        name=asked.sort.value,
        column=columns[asked.sort],
        id=Evaluation.id,
        descending=asked.descending,
        nullable=asked.sort is EvaluationSort.RESULT,
        ahead=case((Job.state.in_(_OVER), 1), else_=0) if asked.sort is EvaluationSort.ACTIVE else None,
        then=Checkpoint.step if asked.sort is EvaluationSort.RUN else None,
    )
    narrow = "Name a checkpoint or a run, or choose a kind."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [(row[0], row[1], row[2]) for row in rows], cursor, total


def _result(db: Session) -> Any:
    errors = elements(db, Evaluation.report["error_of_range"])
    mean = select(func.avg(cast(errors.c.value, Float))).scalar_subquery()
    return case(
        (Evaluation.kind == EvaluationKind.OPEN_LOOP, -mean), else_=Evaluation.report["success_rate"].as_float()
    )


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
