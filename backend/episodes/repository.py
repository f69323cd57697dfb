"""Queries about episodes. Deleted ones are left out, unless a query says otherwise."""

from collections.abc import Collection, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from backend.tables.document import Tier
from backend.tables.draft import SUBMITTED_STATES, Draft
from backend.tables.episode import EpisodeRow


def _present() -> Select[EpisodeRow]:
    return select(EpisodeRow).where(EpisodeRow.deleted_at.is_(None))


def by_id(db: Session, episode_id: str) -> EpisodeRow | None:
    return db.scalar(_present().where(EpisodeRow.id == episode_id))


def by_identity(db: Session, dataset_id: str, identity: str, former: str | None) -> EpisodeRow | None:
    """The episode of this identity, or one that still has `former` as its only one (see backend.episodes.renew)."""
    here = _present().where(EpisodeRow.dataset_id == dataset_id)
    return db.scalar(here.where(EpisodeRow.identity.in_([identity, former or identity])).limit(1))


def identities(db: Session, dataset_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """All that each episode of these datasets is known by, today's first; of deleted ones too."""
    query = select(EpisodeRow.id, EpisodeRow.identity, EpisodeRow.former_identity)
    rows = db.execute(query.where(EpisodeRow.dataset_id.in_(dataset_ids)))
    return {id: tuple(name for name in names if name is not None) for id, *names in rows}


def any_episode(db: Session, dataset_id: str) -> str | None:
    return db.scalar(
        select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None)).limit(1)
    )


def of_dataset(db: Session, dataset_id: str) -> Sequence[EpisodeRow]:
    """All, by number."""
    return db.scalars(_present().where(EpisodeRow.dataset_id == dataset_id).order_by(EpisodeRow.number)).all()


def with_files(db: Session, dataset_id: str) -> Sequence[EpisodeRow]:
    """Those that were set aside too, as long as their files are kept; by number."""
    kept = select(EpisodeRow).where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.freed_at.is_(None))
    return db.scalars(kept.order_by(EpisodeRow.number)).all()


def page(db: Session, dataset_id: str, *, offset: int, limit: int) -> tuple[Sequence[EpisodeRow], int]:
    """A page by number, and how many there are."""
    base = _present().where(EpisodeRow.dataset_id == dataset_id)
    total = db.scalar(select(func.count()).select_from(base.subquery())) or 0
    return db.scalars(base.order_by(EpisodeRow.number).offset(offset).limit(limit)).all(), total


def drafts_of(db: Session, ids: Sequence[str]) -> dict[str, Draft]:
    """Those that are published one day, of the substeps."""
    query = select(Draft).where(Draft.episode_id.in_(ids), Draft.tier == Tier.SUBSTEP, Draft.rater == 0)
    return {draft.episode_id: draft for draft in db.scalars(query)}


def blindly_labelled(db: Session, ids: Sequence[str], me: str) -> set[str]:
    """Those whose substeps this person labels as their second rater and has not submitted."""
    query = select(Draft.episode_id).where(
        Draft.episode_id.in_(ids),
        Draft.tier == Tier.SUBSTEP,
        Draft.rater > 0,
        Draft.assignee_id == me,
        Draft.state.not_in(SUBMITTED_STATES),
    )
    return set(db.scalars(query))


def neighbours(db: Session, row: EpisodeRow) -> tuple[str | None, str | None]:
    """Ids of the previous and the next episode by number."""
    ids = select(EpisodeRow.id).where(EpisodeRow.dataset_id == row.dataset_id, EpisodeRow.deleted_at.is_(None))
    before = ids.where(EpisodeRow.number < row.number).order_by(EpisodeRow.number.desc()).limit(1)
    after = ids.where(EpisodeRow.number > row.number).order_by(EpisodeRow.number).limit(1)
    return db.scalar(before), db.scalar(after)
