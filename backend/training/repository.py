"""Queries of runs and their curves."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import SQLColumnExpression, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from backend.core import paging
from backend.core.paging import Order, has
from backend.tables.checkpoint import Checkpoint
from backend.tables.curve_block import CurveBlock
from backend.tables.job import Job, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.tables.user import User
from backend.training.schemas import RunsIn, RunSort
from backend.versions.sources import trained_on

_OVER = [state for state in JobState if state.over]


def runs(db: Session) -> list[Run]:
    newest = select(Run).where(Run.deleted_at.is_(None)).order_by(Run.created_at.desc(), Run.id)
    return list(db.scalars(newest.limit(paging.MOST_AT_ONCE)))


def page(db: Session, asked: RunsIn) -> tuple[list[Run], str | None, int | None]:
    """(runs, next cursor, total)."""
    query: Any = select(Run).join(Job, Job.id == Run.job_id).outerjoin(User, User.id == Run.created_by)
    query = query.where(Run.deleted_at.is_(None))
    if asked.id:
        query = query.where(Run.id.in_(asked.id))
    if asked.stage is not None:
        query = query.where(Run.stage == asked.stage)
    if asked.state:
        query = query.where(Job.state.in_(asked.state))
    if asked.over is not None:
        query = query.where(Job.state.in_(_OVER) if asked.over else Job.state.not_in(_OVER))
    started_from = [Run.origin[what]["name"].as_string() for what in ("base_model", "expert", "checkpoint")]
    said: Any = Run.name + " " + Job.state
    for text in (Run.preset, User.name, *started_from):
        said = said + " " + func.coalesce(text, "")
    for word in (asked.search or "").split():
        query = query.where(or_(has(said, word), trained_on(db, word)))
    columns: dict[RunSort, SQLColumnExpression[Any]] = {
        RunSort.ACTIVE: Run.created_at,
        RunSort.CREATED: Run.created_at,
        RunSort.NAME: func.lower(Run.name),
        RunSort.STAGE: Run.stage,
        RunSort.STATE: Job.state,
        RunSort.LOSS: _last_loss(),
        RunSort.CHECKPOINTS: _saved(),
    }
    order = Order(
        name=asked.sort.value,
        column=columns[asked.sort],
        id=Run.id,
        descending=asked.descending,
        nullable=asked.sort is RunSort.LOSS,
        ahead=case((Job.state.in_(_OVER), 1), else_=0) if asked.sort is RunSort.ACTIVE else None,
    )
    narrow = "Choose a stage or a state, or write more of the name."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [row[0] for row in rows], cursor, total


def _last_loss() -> Any:
    loss = MetricPoint.values["loss"].as_float()
    own = select(loss).where(MetricPoint.run_id == Run.id, loss.is_not(None))
    return own.order_by(MetricPoint.step.desc()).limit(1).scalar_subquery()


def _saved() -> Any:
    own = select(func.count()).where(Checkpoint.run_id == Run.id, Checkpoint.deleted_at.is_(None))
    return own.scalar_subquery()


def run(db: Session, run_id: str) -> Run | None:
    return db.scalar(select(Run).where(Run.id == run_id, Run.deleted_at.is_(None)))


def user_names(db: Session, ids: Iterable[str | None]) -> dict[str, str]:
    wanted = {one for one in ids if one is not None}
    return {row.id: row.name for row in db.execute(select(User.id, User.name).where(User.id.in_(wanted)))}


def checkpoint_counts(db: Session, run_ids: Sequence[str]) -> dict[str, int]:
    """How many checkpoints of each run have their files."""
    rows = db.execute(
        select(Checkpoint.run_id, func.count())
        .where(Checkpoint.run_id.in_(run_ids), Checkpoint.deleted_at.is_(None))
        .group_by(Checkpoint.run_id)
    )
    return {run_id: count for run_id, count in rows}


def last_points(db: Session, run_id: str, *, count: int) -> list[MetricPoint]:
    """The last points of a run, oldest first. By the primary key: as fast for a long run as for a short one."""
    newest = select(MetricPoint).where(MetricPoint.run_id == run_id).order_by(MetricPoint.step.desc()).limit(count)
    return list(db.scalars(newest))[::-1]


def checkpoints(db: Session, run_id: str) -> list[Checkpoint]:
    """Those with files, by step."""
    return list(
        db.scalars(
            select(Checkpoint)
            .where(Checkpoint.run_id == run_id, Checkpoint.deleted_at.is_(None))
            .order_by(Checkpoint.step)
        )
    )


def remove_points(db: Session, run_id: str) -> None:
    db.execute(delete(CurveBlock).where(CurveBlock.run_id == run_id))
    db.execute(delete(MetricPoint).where(MetricPoint.run_id == run_id))


def mark_checkpoints_deleted(db: Session, run_id: str, *, when: Any, why: str) -> None:
    db.execute(
        update(Checkpoint)
        .where(Checkpoint.run_id == run_id, Checkpoint.deleted_at.is_(None))
        .values(deleted_at=when, deleted_why=why)
    )
