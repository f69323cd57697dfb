"""Queries about import profiles."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.tables.import_profile import ImportProfileRow


def profiles(db: Session) -> Sequence[ImportProfileRow]:
    """By name."""
    return db.scalars(select(ImportProfileRow).order_by(ImportProfileRow.key)).all()


def by_id(db: Session, profile_id: str) -> ImportProfileRow | None:
    return db.get(ImportProfileRow, profile_id)


def by_key(db: Session, key: str) -> ImportProfileRow | None:
    return db.scalar(select(ImportProfileRow).where(ImportProfileRow.key == key))
