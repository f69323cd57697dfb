"""Queries about drafts, their history and revisions.

Whoever changes a draft holds the lock of its episode's row: nobody else changes it before the transaction is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, func, select
from sqlalchemy.orm import Session, aliased

from backend.core.db import db_seconds
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import SUBMITTED_STATES, Draft
from backend.tables.episode import EpisodeRow
from backend.tables.label_history import LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import PUBLISHED, LabelSet
from backend.tables.label_writing import batches
from backend.tables.review_note import ReviewNote
from backend.tables.user import User


def blind_for(db: Session, dataset_id: str, me: str) -> set[tuple[str, Tier]]:
    """Episodes (and tiers) that this person labels blind and is not done with."""
    query = (
        select(Draft.episode_id, Draft.tier)
        .join(EpisodeRow, EpisodeRow.id == Draft.episode_id)
        .where(
            EpisodeRow.dataset_id == dataset_id,
            Draft.rater > 0,
            Draft.assignee_id == me,
            Draft.state.not_in(SUBMITTED_STATES),
        )
    )
    return {(row[0], row[1]) for row in db.execute(query)}


@dataclass(frozen=True, kw_only=True)
class DraftContext:
    """A draft in its surroundings. now: the database's clock, seconds. blind: this person labels the episode as its
    second rater and is not done, so must not see the first rater's labels. labelling: the dataset's settings."""

    row: EpisodeRow
    tier: Tier
    rater: int
    draft: Draft | None
    labelling: dict[str, Any]
    now: float
    blind: bool

    @property
    def moment(self) -> datetime:
        """The database's clock."""
        return datetime.fromtimestamp(self.now, UTC)


@cache
def _context_query(lock: bool) -> Select[Any]:
    """One query, put together once: the save of a draft is asked a lot of."""
    second = aliased(Draft)
    is_blind = exists().where(
        second.episode_id == EpisodeRow.id,
        second.tier == bindparam("tier", type_=Draft.tier.type),
        second.rater > 0,
        second.assignee_id == bindparam("me"),
        second.state.not_in(SUBMITTED_STATES),
    )
    own = and_(
        Draft.episode_id == EpisodeRow.id,
        Draft.tier == bindparam("tier", type_=Draft.tier.type),
        Draft.rater == bindparam("rater"),
    )
    query = (
        select(EpisodeRow, Draft, Dataset.labelling, db_seconds(), is_blind)
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .outerjoin(Draft, own)
        .where(EpisodeRow.id == bindparam("episode"), EpisodeRow.deleted_at.is_(None))
    )
    return query.with_for_update(of=EpisodeRow) if lock else query


def lock_dataset(db: Session, episode_id: str) -> None:
    """For what changes an episode and then its dataset: whoever changes both locks the dataset first, or two of them
    wait for each other."""
    whose = select(EpisodeRow.dataset_id).where(EpisodeRow.id == episode_id).scalar_subquery()
    db.execute(select(Dataset.id).where(Dataset.id == whose).with_for_update(key_share=True))


def draft_context(
    db: Session, episode_id: str, tier: Tier, rater: int, *, me: str | None = None, lock: bool = False
) -> DraftContext | None:
    given = {"episode": episode_id, "tier": tier, "rater": rater, "me": me}
    found = db.execute(_context_query(lock), given).one_or_none()
    if found is None:
        return None
    return DraftContext(
        row=found[0],
        tier=tier,
        rater=rater,
        draft=found[1],
        labelling=found[2],
        now=found[3],
        blind=rater == 0 and found[4],
    )


def drafts(db: Session, episode_id: str) -> Sequence[Draft]:
    return db.scalars(select(Draft).where(Draft.episode_id == episode_id)).all()


def revisions(db: Session, episode_id: str, tier: Tier) -> Sequence[LabelRevision]:
    query = select(LabelRevision).where(LabelRevision.episode_id == episode_id, LabelRevision.tier == tier)
    return db.scalars(query.order_by(LabelRevision.number.desc())).all()


def last_revision(db: Session, episode_id: str, tier: Tier = Tier.SUBSTEP) -> LabelRevision | None:
    query = select(LabelRevision).where(LabelRevision.episode_id == episode_id, LabelRevision.tier == tier)
    return db.scalar(query.order_by(LabelRevision.number.desc()).limit(1))


def last_revisions(db: Session, dataset_id: str, tier: Tier = Tier.SUBSTEP) -> dict[str, LabelRevision]:
    """Newest revision of each episode of a dataset, by episode."""
    newest = (
        select(LabelRevision.episode_id, func.max(LabelRevision.number).label("number"))
        .join(EpisodeRow, EpisodeRow.id == LabelRevision.episode_id)
        .where(EpisodeRow.dataset_id == dataset_id, LabelRevision.tier == tier)
        .group_by(LabelRevision.episode_id)
        .subquery()
    )
    query = select(LabelRevision).join(
        newest,
        (LabelRevision.episode_id == newest.c.episode_id) & (LabelRevision.number == newest.c.number),
    )
    return {revision.episode_id: revision for revision in db.scalars(query.where(LabelRevision.tier == tier))}


def newest_revisions(db: Session, ids: Sequence[str], tier: Tier) -> dict[str, LabelRevision]:
    """Of some episodes, by episode."""
    found: dict[str, LabelRevision] = {}
    for some in batches(ids):
        query = (
            select(LabelRevision)
            .join(LabelSet, LabelSet.episode_id == LabelRevision.episode_id)
            .where(
                LabelSet.episode_id.in_(some),
                LabelSet.tier == tier,
                LabelSet.layer == PUBLISHED,
                LabelRevision.tier == tier,
                LabelRevision.number == LabelSet.edit,
            )
        )
        found |= {revision.episode_id: revision for revision in db.scalars(query)}
    return found


def history(db: Session, episode_id: str, tier: Tier, rater: int) -> Sequence[LabelHistory]:
    """Newest first."""
    query = select(LabelHistory).where(
        LabelHistory.episode_id == episode_id, LabelHistory.tier == tier, LabelHistory.rater == rater
    )
    return db.scalars(query.order_by(LabelHistory.created_at.desc(), LabelHistory.edit.desc())).all()


def notes(db: Session, episode_id: str, tier: Tier, rater: int) -> Sequence[ReviewNote]:
    """By their place in the episode."""
    query = select(ReviewNote).where(
        ReviewNote.episode_id == episode_id, ReviewNote.tier == tier, ReviewNote.rater == rater
    )
    return db.scalars(query.order_by(ReviewNote.start, ReviewNote.created_at)).all()


def names(db: Session, ids: set[str | None]) -> dict[str, str]:
    """Of people, by id."""
    wanted = {found for found in ids if found is not None}
    if not wanted:
        return {}
    return {row[0]: row[1] for row in db.execute(select(User.id, User.name).where(User.id.in_(wanted)))}
