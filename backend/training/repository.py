"""Queries of runs and their curves."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import SQLColumnExpression, delete, func, select, update
from sqlalchemy.orm import Session

from backend.core import paging
from backend.core.paging import Order, contains
from backend.tables.checkpoint import Checkpoint
from backend.tables.curve_block import CurveBlock
from backend.tables.job import Job, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.tables.user import User
from backend.training.schemas import RunsIn, RunSort

_OVER = [state for state in JobState if state.over]


def runs(db: Session) -> list[Run]:
    return list(db.scalars(select(Run).where(Run.deleted_at.is_(None)).order_by(Run.created_at.desc(), Run.id)))


def page(db: Session, asked: RunsIn) -> tuple[list[Run], str | None, int | None]:
    """(runs, next cursor, total)."""
    query = select(Run).join(Job, Job.id == Run.job_id).where(Run.deleted_at.is_(None))
    if asked.stage is not None:
        query = query.where(Run.stage == asked.stage)
    if asked.state is not None:
        query = query.where(Job.state == asked.state)
    if asked.over is not None:
        query = query.where(Job.state.in_(_OVER) if asked.over else Job.state.not_in(_OVER))
    if asked.search:
        query = query.where(contains(Run.name + " " + func.coalesce(Run.preset, ""), asked.search))
    columns: dict[RunSort, SQLColumnExpression[Any]] = {
        RunSort.CREATED: Run.created_at,
        RunSort.NAME: Run.name,
        RunSort.STAGE: Run.stage,
        RunSort.STATE: Job.state,
    }
    order = Order(name=asked.sort.value, column=columns[asked.sort], id=Run.id, descending=asked.descending)
    narrow = "Choose a stage or a state, or write more of the name."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [row[0] for row in rows], cursor, total


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
