"""Queries about drafts and revisions. lock: nobody else changes the row before this transaction is over."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.annotations.models import Draft, LabelRevision
from backend.episodes.models import EpisodeRow


def episode(db: Session, episode_id: str, *, lock: bool = False) -> EpisodeRow | None:
    query = select(EpisodeRow).where(EpisodeRow.id == episode_id, EpisodeRow.deleted_at.is_(None))
    return db.scalar(query.with_for_update() if lock else query)


def draft(db: Session, episode_id: str, *, lock: bool = False) -> Draft | None:
    query = select(Draft).where(Draft.episode_id == episode_id)
    return db.scalar(query.with_for_update() if lock else query)


def revisions(db: Session, episode_id: str) -> Sequence[LabelRevision]:
    query = select(LabelRevision).where(LabelRevision.episode_id == episode_id)
    return db.scalars(query.order_by(LabelRevision.number.desc())).all()


def last_revision(db: Session, episode_id: str) -> LabelRevision | None:
    query = select(LabelRevision).where(LabelRevision.episode_id == episode_id)
    return db.scalar(query.order_by(LabelRevision.number.desc()).limit(1))


def last_revisions(db: Session, dataset_id: str) -> dict[str, LabelRevision]:
    """Newest revision of each episode of a dataset, by episode."""
    newest = (
        select(LabelRevision.episode_id, func.max(LabelRevision.number).label("number"))
        .join(EpisodeRow, EpisodeRow.id == LabelRevision.episode_id)
        .where(EpisodeRow.dataset_id == dataset_id)
        .group_by(LabelRevision.episode_id)
        .subquery()
    )
    query = select(LabelRevision).join(
        newest,
        (LabelRevision.episode_id == newest.c.episode_id) & (LabelRevision.number == newest.c.number),
    )
    return {revision.episode_id: revision for revision in db.scalars(query)}
