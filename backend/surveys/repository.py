"""Queries about what was measured of episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from backend.tables.episode import EpisodeRow
from backend.tables.episode_traits import EpisodeTraitsRow
from dexvla.spec.survey import TRAITS_VERSION, EpisodeTraits


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An episode with what was measured of it."""

    id: str
    number: int
    success: bool | None
    robot: str | None
    traits: dict[str, Any] | None
    error: str | None


def _here(dataset_id: str) -> tuple[ColumnElement[bool], ...]:
    return EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None)


def measured(db: Session, dataset_id: str) -> list[Measured]:
    """By number."""
    rows = db.execute(
        select(
            EpisodeRow.id,
            EpisodeRow.number,
            EpisodeRow.success,
            EpisodeRow.robot,
            EpisodeTraitsRow.traits,
            EpisodeTraitsRow.error,
        )
        .join(EpisodeTraitsRow, EpisodeTraitsRow.episode_id == EpisodeRow.id)
        .where(*_here(dataset_id), EpisodeTraitsRow.version == TRAITS_VERSION)
        .order_by(EpisodeRow.number)
    )
    return [Measured(**row._mapping) for row in rows]


def _missing(dataset_id: str) -> tuple[ColumnElement[bool], ...]:
    unlike = or_(EpisodeTraitsRow.episode_id.is_(None), EpisodeTraitsRow.version != TRAITS_VERSION)
    return *_here(dataset_id), unlike


def missing(db: Session, dataset_id: str) -> Sequence[str]:
    """Ids of the episodes that were not measured, or by an older studio, by number."""
    query = select(EpisodeRow.id).outerjoin(EpisodeTraitsRow, EpisodeTraitsRow.episode_id == EpisodeRow.id)
    return db.scalars(query.where(*_missing(dataset_id)).order_by(EpisodeRow.number)).all()


def how_many_missing(db: Session, dataset_id: str) -> int:
    query = select(func.count(EpisodeRow.id)).outerjoin(EpisodeTraitsRow, EpisodeTraitsRow.episode_id == EpisodeRow.id)
    return db.scalar(query.where(*_missing(dataset_id))) or 0


def forget_errors(db: Session, dataset_id: str) -> None:
    """Episodes that could not be read are to be measured again: a disk may be back, a file restored."""
    ids = select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id)
    db.execute(
        delete(EpisodeTraitsRow).where(EpisodeTraitsRow.error.is_not(None), EpisodeTraitsRow.episode_id.in_(ids))
    )


def keep(db: Session, episode_id: str, *, traits: EpisodeTraits | None, error: str | None) -> None:
    """What was measured, in place of what was measured before."""
    row = db.get(EpisodeTraitsRow, episode_id) or EpisodeTraitsRow(episode_id=episode_id)
    row.version = TRAITS_VERSION
    row.traits, row.error = None if traits is None else traits.model_dump(mode="json"), error
    db.add(row)
