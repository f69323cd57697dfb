"""Queries for robots."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.db import db_seconds
from backend.robots.models import RobotRow


def all_robots(db: Session) -> list[RobotRow]:
    return list(db.scalars(select(RobotRow).order_by(RobotRow.name)))


def by_name(db: Session, name: str) -> RobotRow | None:
    return db.get(RobotRow, name)


def database_now(db: Session) -> datetime:
    """The database's clock: hosts and APIs on several machines agree on it."""
    return datetime.fromtimestamp(db.scalar(select(db_seconds())) or 0.0, UTC)
