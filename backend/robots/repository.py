"""Queries for robots."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.db import database_now
from backend.tables.robot import RobotRow


def all_robots(db: Session) -> list[RobotRow]:
    return list(db.scalars(select(RobotRow).order_by(RobotRow.name)))


def by_name(db: Session, name: str) -> RobotRow | None:
    return db.get(RobotRow, name)


def count_seen(db: Session, *, within: timedelta) -> int:
    """Robots whose hosts were heard from lately."""
    now = database_now(db)
    return sum(was_seen(at, now, within=within) for at in db.scalars(select(RobotRow.seen_at)))


def was_seen(at: datetime, now: datetime, *, within: timedelta) -> bool:
    """A time to come, which a clock that was set back leaves behind, says as little as one long ago."""
    return abs(now - at) < within
