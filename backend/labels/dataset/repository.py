"""Queries over all drafts of a dataset, or of a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from backend.core.db import db_seconds
from backend.core.roles import Role
from backend.tables.bulk_change import BulkChange
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import HANDED_IN, Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.review_note import ReviewNote
from backend.tables.user import User

OPEN = (WorkState.CLAIMED, WorkState.IN_PROGRESS, WorkState.REJECTED, WorkState.REOPENED)


@dataclass(frozen=True, kw_only=True)
class Item:
    """An episode with one of its drafts, or with none."""

    row: EpisodeRow
    draft: Draft | None
    dataset: Dataset
    now: float

    @property
    def held(self) -> bool:
        """Somebody works on it right now."""
        return self.draft is not None and self.draft.held(self.now)


def items(
    db: Session, dataset_id: str, tier: Tier, rater: int = 0, *, ids: Sequence[str] | None = None, lock: bool = False
) -> list[Item]:
    """Every episode of the dataset (or those of `ids`), by number. lock: of the episodes' rows."""
    query = (
        select(EpisodeRow, Draft, Dataset, db_seconds())
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .outerjoin(Draft, and_(Draft.episode_id == EpisodeRow.id, Draft.tier == tier, Draft.rater == rater))
        .where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
        .order_by(EpisodeRow.number)
    )
    found = db.execute(query.with_for_update(of=EpisodeRow) if lock else query)
    chosen = None if ids is None else set(ids)
    return [
        Item(row=row, draft=draft, dataset=dataset, now=now)
        for row, draft, dataset, now in found
        if chosen is None or row.id in chosen
    ]


def all_drafts(db: Session, dataset_id: str, tier: Tier, *, rater: int | None = None, lock: bool = False) -> list[Item]:
    """Every draft of the dataset in a tier, of one rater or of all, by episode number."""
    query = (
        select(EpisodeRow, Draft, Dataset, db_seconds())
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .join(Draft, Draft.episode_id == EpisodeRow.id)
        .where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None), Draft.tier == tier)
        .order_by(EpisodeRow.number, Draft.rater)
    )
    if rater is not None:
        query = query.where(Draft.rater == rater)
    found = db.execute(query.with_for_update(of=EpisodeRow) if lock else query)
    return [Item(row=row, draft=draft, dataset=dataset, now=now) for row, draft, dataset, now in found]


def queue(
    db: Session,
    where: Sequence[ColumnElement[bool]],
    *,
    tier: Tier,
    every: bool,
    offset: int,
    limit: int,
) -> tuple[list[Item], int]:
    """Drafts that fulfil `where`, by dataset and number, and how many there are. every: episodes without one too."""
    query = (
        select(EpisodeRow, Draft, Dataset, db_seconds())
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .join(Draft, and_(Draft.episode_id == EpisodeRow.id, Draft.tier == tier), isouter=every)
        .where(EpisodeRow.deleted_at.is_(None), *where)
    )
    total = db.scalar(select(func.count()).select_from(query.with_only_columns(EpisodeRow.id).subquery())) or 0
    ordered = query.order_by(Dataset.name, EpisodeRow.number, Draft.rater).offset(offset).limit(limit)
    return [
        Item(row=row, draft=draft, dataset=dataset, now=now) for row, draft, dataset, now in db.execute(ordered)
    ], total


def mine(me: str) -> list[ColumnElement[bool]]:
    return [Draft.assignee_id == me, Draft.state.in_(OPEN)]


def blindly_labelled_by(me: str, tier: Tier) -> ColumnElement[bool]:
    """Episodes whose first labels this person may not see yet."""
    second = aliased(Draft)
    return (
        select(second.episode_id)
        .where(
            second.episode_id == EpisodeRow.id,
            second.tier == tier,
            second.rater > 0,
            second.assignee_id == me,
            second.state.not_in(HANDED_IN),
        )
        .exists()
    )


def any_second(me: str, tier: Tier) -> ColumnElement[bool]:
    """Episodes that this person labels, or labelled, as the second rater."""
    second = aliased(Draft)
    return (
        select(second.episode_id)
        .where(second.episode_id == EpisodeRow.id, second.tier == tier, second.rater > 0, second.assignee_id == me)
        .exists()
    )


def free() -> ColumnElement[bool]:
    """Nobody has it."""
    untouched = and_(Draft.rater == 0, Draft.assignee_id.is_(None), Draft.state == WorkState.UNASSIGNED)
    return or_(Draft.episode_id.is_(None), untouched)


def unlabelled() -> ColumnElement[bool]:
    """Nobody has it, and nothing of it is published."""
    return and_(free(), EpisodeRow.label_state != LabelState.PUBLISHED)


def open_notes(db: Session, ids: Sequence[str]) -> dict[tuple[str, Tier, int], int]:
    query = (
        select(ReviewNote.episode_id, ReviewNote.tier, ReviewNote.rater, func.count())
        .where(ReviewNote.episode_id.in_(ids), ReviewNote.resolved_at.is_(None))
        .group_by(ReviewNote.episode_id, ReviewNote.tier, ReviewNote.rater)
    )
    return {(row[0], row[1], row[2]): row[3] for row in db.execute(query)}


def annotators(db: Session) -> Sequence[User]:
    """People who may label, by name."""
    roles = [role for role in Role if role.allows(Role.ANNOTATOR)]
    query = select(User).where(User.disabled.is_(False), User.role.in_([role.value for role in roles]))
    return db.scalars(query.order_by(User.name)).all()


def events(db: Session, *, dataset_id: str | None, since: Any) -> Sequence[LabelHistory]:
    """History of all drafts since a time, oldest first."""
    query = select(LabelHistory).order_by(LabelHistory.created_at)
    if dataset_id is not None:
        query = query.where(LabelHistory.dataset_id == dataset_id)
    if since is not None:
        query = query.where(LabelHistory.created_at >= since)
    return db.scalars(query).all()


def moments(db: Session, dataset_id: str) -> list[tuple[datetime, HistoryKind, Tier]]:
    """When what happened to drafts of a dataset, without their labels, oldest first."""
    query = select(LabelHistory.created_at, LabelHistory.kind, LabelHistory.tier)
    found = db.execute(query.where(LabelHistory.dataset_id == dataset_id).order_by(LabelHistory.created_at))
    return [(row[0], row[1], row[2]) for row in found]


def changes(db: Session, dataset_id: str) -> Sequence[BulkChange]:
    """Newest first."""
    query = select(BulkChange).where(BulkChange.dataset_id == dataset_id)
    return db.scalars(query.order_by(BulkChange.created_at.desc())).all()
