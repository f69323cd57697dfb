"""Queries about edits and the episodes that they set aside."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from backend.core.db import NO_KEY
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EpisodeEdit
from backend.tables.label_revision import LabelRevision
from backend.tables.proposal import Proposal, ProposalState
from backend.tables.review_note import ReviewNote


def lock_datasets(db: Session, ids: Collection[str]) -> dict[str, Dataset | None]:
    """Nobody makes versions of them meanwhile, or deletes one. Before any edit or episode is locked: whoever deletes a
    dataset has locked it, and deletes those."""
    return {key: db.get(Dataset, key, with_for_update=NO_KEY) for key in sorted(set(ids))}


def datasets_of(db: Session, edit_id: str) -> set[str]:
    """Ids of the datasets that an edit reads and writes, which never change; none where there is no such edit."""
    query = select(EpisodeEdit.dataset_id, EpisodeEdit.target_id).where(EpisodeEdit.id == edit_id)
    return {key for row in db.execute(query) for key in row}


def by_id(db: Session, edit_id: str, *, lock: bool = False) -> EpisodeEdit | None:
    return db.get(EpisodeEdit, edit_id, with_for_update=lock)


def of_dataset(db: Session, dataset_id: str, *, limit: int) -> Sequence[EpisodeEdit]:
    """Of its episodes or into it, newest first."""
    query = select(EpisodeEdit).where(or_(EpisodeEdit.dataset_id == dataset_id, EpisodeEdit.target_id == dataset_id))
    return db.scalars(query.order_by(EpisodeEdit.created_at.desc()).limit(limit)).all()


def episodes(db: Session, ids: Collection[str], *, lock: bool = False) -> dict[str, EpisodeRow]:
    """By id, set aside or not."""
    query = select(EpisodeRow).where(EpisodeRow.id.in_(ids)).order_by(EpisodeRow.dataset_id, EpisodeRow.number)
    return {row.id: row for row in db.scalars(query.with_for_update() if lock else query)}


def twins(db: Session, dataset_id: str, rows: Collection[EpisodeRow]) -> dict[str, int]:
    """Numbers of the episodes of a dataset that are the same as `rows`, by ids of these."""
    of = {name: row.id for row in rows for name in (row.identity, row.former_identity) if name is not None}
    there = select(EpisodeRow.identity, EpisodeRow.number).where(
        EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None), EpisodeRow.identity.in_(of)
    )
    return {of[identity]: number for identity, number in db.execute(there)}


def has_others(db: Session, dataset_id: str, ids: Collection[str]) -> bool:
    """Whether a dataset has episodes that are not among `ids`."""
    query = select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
    return any(key not in ids for key in db.scalars(query.limit(len(ids) + 1)))


def drafts(db: Session, ids: Collection[str], tier: Tier | None = None) -> Sequence[Draft]:
    """Of the first rater."""
    query = select(Draft).where(Draft.episode_id.in_(ids), Draft.rater == 0)
    return db.scalars(query if tier is None else query.where(Draft.tier == tier)).all()


def all_drafts(db: Session, ids: Collection[str]) -> Sequence[Draft]:
    return db.scalars(select(Draft).where(Draft.episode_id.in_(ids))).all()


def proposals(db: Session, episode_id: str) -> Sequence[Proposal]:
    query = select(Proposal).where(Proposal.episode_id == episode_id, Proposal.state == ProposalState.READY)
    return db.scalars(query.order_by(Proposal.created_at)).all()


def versions_with(db: Session, dataset_ids: Collection[str]) -> dict[str, list[int]]:
    """Numbers of the versions of these datasets that list an episode, by episode."""
    found: dict[str, list[int]] = {}
    for version in db.scalars(select(DatasetVersion).where(DatasetVersion.dataset_id.in_(dataset_ids))):
        for episode_id in version.episode_ids:
            found.setdefault(episode_id, []).append(version.number)
    return {key: sorted(numbers) for key, numbers in found.items()}


def set_aside_before(db: Session, moment: datetime) -> Sequence[EpisodeRow]:
    """Those whose files are still kept; they, and their datasets, are this transaction's to free."""
    kept = (EpisodeRow.deleted_at < moment, EpisodeRow.freed_at.is_(None))
    datasets = lock_datasets(db, db.scalars(select(EpisodeRow.dataset_id).where(*kept).distinct()).all())
    query = select(EpisodeRow).where(*kept, EpisodeRow.dataset_id.in_(datasets))
    return db.scalars(query.with_for_update(skip_locked=True)).all()


def names(db: Session, ids: Collection[str]) -> dict[str, str]:
    """Of datasets."""
    return {key: name for key, name in db.execute(select(Dataset.id, Dataset.name).where(Dataset.id.in_(ids)))}


def noted(db: Session, ids: Collection[str]) -> set[str]:
    """Which of these episodes reviewers have written notes about."""
    return set(db.scalars(select(ReviewNote.episode_id).where(ReviewNote.episode_id.in_(ids))))


def revision_counts(db: Session, ids: Collection[str]) -> dict[str, int]:
    """How many revisions each episode has, of all tiers."""
    query = select(LabelRevision.episode_id, func.count()).where(LabelRevision.episode_id.in_(ids))
    return {key: count for key, count in db.execute(query.group_by(LabelRevision.episode_id))}
