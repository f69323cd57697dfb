"""Queries of checkpoints."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import SQLColumnExpression, Text, cast, func, or_, select
from sqlalchemy.orm import Session

from backend.checkpoints.schemas import CheckpointsIn, CheckpointSort
from backend.core import paging
from backend.core.paging import Order, has, limited
from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobState
from backend.tables.run import Run
from backend.versions.sources import trained_on

_NARROW = "Name a run or a stage, or more of the run's name."


def children(db: Session, checkpoint_ids: Sequence[str], *, running: bool = False) -> list[Run]:
    """Runs that started from one of the checkpoints; with `running` only those that are not over."""
    query = select(Run).where(Run.parent_id.in_(checkpoint_ids), Run.deleted_at.is_(None))
    if running:
        query = query.join(Job, Job.id == Run.job_id).where(Job.state.not_in(_OVER))
    return list(db.scalars(query))


_OVER = [state for state in JobState if state.over]


def checkpoints(db: Session, *, run_id: str | None, deleted: bool) -> list[tuple[Checkpoint, Run]]:
    """Newest first, with their runs."""
    query = select(Checkpoint, Run).join(Run, Run.id == Checkpoint.run_id)
    if run_id is not None:
        query = query.where(Checkpoint.run_id == run_id)
    if not deleted:
        query = query.where(Checkpoint.deleted_at.is_(None))
    rows = db.execute(query.order_by(Checkpoint.created_at.desc(), Checkpoint.step.desc()).limit(paging.MOST_AT_ONCE))
    return [(checkpoint, run) for checkpoint, run in rows]


def page(db: Session, asked: CheckpointsIn) -> tuple[list[tuple[Checkpoint, Run]], str | None, int | None]:
    """(checkpoints with their runs, next cursor, total)."""
    query = _asked_for(db, asked)
    rows, cursor, total = paging.page(db, query, _order(asked), cursor=asked.cursor, limit=asked.limit, narrow=_NARROW)
    return [(row[0], row[1]) for row in rows], cursor, total


def size_bytes(db: Session, asked: CheckpointsIn) -> int:
    """Of the files that all of them still have."""
    query = _asked_for(db, asked).where(Checkpoint.deleted_at.is_(None))
    with limited(db, _NARROW):
        return int(db.scalar(query.with_only_columns(func.sum(Checkpoint.size_bytes))) or 0)


def _asked_for(db: Session, asked: CheckpointsIn) -> Any:
    query: Any = select(Checkpoint, Run).join(Run, Run.id == Checkpoint.run_id)
    if asked.id:
        query = query.where(Checkpoint.id.in_(asked.id))
    if not asked.deleted:
        query = query.where(Checkpoint.deleted_at.is_(None))
    if asked.run_id is not None:
        query = query.where(Checkpoint.run_id == asked.run_id)
    if asked.stage is not None:
        query = query.where(Checkpoint.stage == asked.stage)
    name = Run.name + ", step " + cast(Checkpoint.step, Text)
    for word in (asked.search or "").split():
        query = query.where(or_(has(name, word), trained_on(db, word)))
    return query


def _order(asked: CheckpointsIn) -> Order:
    best = (
        select(func.max(Evaluation.report["success_rate"].as_float()))
        .where(Evaluation.checkpoint_id == Checkpoint.id, Evaluation.deleted_at.is_(None))
        .where(Evaluation.kind == EvaluationKind.CLOSED_LOOP)
        .scalar_subquery()
    )
    columns: dict[CheckpointSort, SQLColumnExpression[Any]] = {
        CheckpointSort.CREATED: Checkpoint.created_at,
        CheckpointSort.RUN: func.lower(Run.name),
        CheckpointSort.STEP: Checkpoint.step,
        CheckpointSort.STAGE: Checkpoint.stage,
        CheckpointSort.LOSS: Checkpoint.val_loss,
        CheckpointSort.SUCCESS: best,
        CheckpointSort.SIZE: Checkpoint.size_bytes,
    }
    return Order(
        name=asked.sort.value,
        column=columns[asked.sort],
        id=Checkpoint.id,
        descending=asked.descending,
        nullable=asked.sort in {CheckpointSort.LOSS, CheckpointSort.SUCCESS},
        then=None if asked.sort is CheckpointSort.CREATED else Checkpoint.step,
    )


def checkpoint(db: Session, checkpoint_id: str) -> tuple[Checkpoint, Run] | None:
    row = db.execute(
        select(Checkpoint, Run).join(Run, Run.id == Checkpoint.run_id).where(Checkpoint.id == checkpoint_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def evaluations(db: Session, checkpoint_ids: Sequence[str]) -> dict[str, list[Evaluation]]:
    found: dict[str, list[Evaluation]] = {}
    for row in db.scalars(
        select(Evaluation).where(Evaluation.checkpoint_id.in_(checkpoint_ids), Evaluation.deleted_at.is_(None))
    ):
        found.setdefault(row.checkpoint_id, []).append(row)
    return found


def best_success_rate(rows: Sequence[Evaluation]) -> float | None:
    rates = [
        float(row.report["success_rate"])
        for row in rows
        if row.kind == EvaluationKind.CLOSED_LOOP and row.report is not None
    ]
    return max(rates, default=None)


def evaluation_that_needs(db: Session, checkpoint_ids: Sequence[str]) -> Evaluation | None:
    """An evaluation of one of them that is queued or running."""
    return db.scalar(
        select(Evaluation)
        .join(Job, Job.id == Evaluation.job_id)
        .where(Evaluation.checkpoint_id.in_(checkpoint_ids), Job.state.not_in(_OVER))
        .limit(1)
    )
