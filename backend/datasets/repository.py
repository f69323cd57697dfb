"""Queries about datasets and versions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from backend.core import paging
from backend.core.paging import Order, contains
from backend.datasets.schemas import DatasetsIn, DatasetSort
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.evaluation import Evaluation
from backend.tables.run import Run
from backend.tables.upload import Upload
from backend.tables.user import User


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of the episodes that are there. cover: an episode to show."""

    episodes: int = 0
    steps: int = 0
    labelled: int = 0
    drafts: int = 0
    size_bytes: int = 0
    cover: str | None = None


def by_id(db: Session, dataset_id: str, *, lock: bool = False) -> Dataset | None:
    """lock: nobody adds to the dataset, or makes a version of it, before this transaction is over."""
    return db.get(Dataset, dataset_id, with_for_update=lock or None)


def lock_episodes(db: Session, dataset_id: str) -> Sequence[str]:
    """Ids of all, set aside or not. Whoever saves labels locks the episode, and then writes what refers to it."""
    query = select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id)
    return db.scalars(query.order_by(EpisodeRow.number).with_for_update()).all()


def lock_uploads(db: Session, dataset_id: str) -> Sequence[str]:
    """Ids; whoever removes an upload locks it, and then its files."""
    query = select(Upload.id).where(Upload.dataset_id == dataset_id)
    return db.scalars(query.order_by(Upload.id).with_for_update()).all()


def taken_names(db: Session) -> dict[str, tuple[str, str]]:
    """(id, name) by the name without its case: databases disagree about the case of letters beyond ASCII."""
    return {row.name.casefold(): (row.id, row.name) for row in db.execute(select(Dataset.id, Dataset.name))}


def all_datasets(db: Session) -> Sequence[Dataset]:
    """Newest first."""
    return db.scalars(select(Dataset).order_by(Dataset.created_at.desc())).all()


def page(db: Session, asked: DatasetsIn) -> tuple[list[Dataset], str | None, int | None]:
    """(datasets, next cursor, total)."""
    query = select(Dataset)
    if asked.search:
        query = query.where(contains(Dataset.name + " " + Dataset.description, asked.search))
    column = Dataset.name if asked.sort is DatasetSort.NAME else Dataset.created_at
    order = Order(name=asked.sort.value, column=column, id=Dataset.id, descending=asked.descending)
    narrow = "Write more of the name."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [row[0] for row in rows], cursor, total


def counts(db: Session, dataset_id: str | None = None, *, among: Sequence[str] | None = None) -> dict[str, Counts]:
    """By dataset; all datasets, or those `among` them, in one query."""

    def how_many(state: LabelState) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((EpisodeRow.label_state == state, 1), else_=0)), 0)

    query = (
        select(
            EpisodeRow.dataset_id,
            func.count(),
            func.coalesce(func.sum(EpisodeRow.steps), 0),
            how_many(LabelState.PUBLISHED),
            how_many(LabelState.DRAFT),
            func.coalesce(func.sum(EpisodeRow.size_bytes), 0),
            func.min(EpisodeRow.number),
        )
        .where(EpisodeRow.deleted_at.is_(None))
        .group_by(EpisodeRow.dataset_id)
    )
    if dataset_id is not None:
        query = query.where(EpisodeRow.dataset_id == dataset_id)
    if among is not None:
        query = query.where(EpisodeRow.dataset_id.in_(among))
    found = db.execute(query).all()
    covers = {
        (row.dataset_id, row.number): row.id
        for row in db.execute(
            select(EpisodeRow.dataset_id, EpisodeRow.number, EpisodeRow.id).where(
                EpisodeRow.dataset_id.in_([line[0] for line in found]),
                EpisodeRow.number.in_({line[6] for line in found}),
                EpisodeRow.deleted_at.is_(None),
            )
        )
    }
    return {
        line[0]: Counts(
            episodes=line[1],
            steps=int(line[2]),
            labelled=int(line[3]),
            drafts=int(line[4]),
            size_bytes=int(line[5]),
            cover=covers.get((line[0], line[6])),
        )
        for line in found
    }


def version_counts(db: Session) -> dict[str, int]:
    query = select(DatasetVersion.dataset_id, func.count()).group_by(DatasetVersion.dataset_id)
    return {row[0]: row[1] for row in db.execute(query)}


def versions(db: Session, dataset_id: str | None) -> Sequence[DatasetVersion]:
    """Newest first."""
    query = select(DatasetVersion).order_by(DatasetVersion.created_at.desc())
    if dataset_id is not None:
        query = query.where(DatasetVersion.dataset_id == dataset_id)
    return db.scalars(query).all()


def versions_by_id(db: Session, ids: Sequence[str]) -> dict[str, DatasetVersion]:
    return {row.id: row for row in db.scalars(select(DatasetVersion).where(DatasetVersion.id.in_(ids)))}


def names(db: Session, ids: Sequence[str]) -> dict[str, str]:
    query = select(Dataset.id, Dataset.name).where(Dataset.id.in_(ids))
    return {row[0]: row[1] for row in db.execute(query)}


def user_names(db: Session, ids: Sequence[str | None]) -> dict[str, str]:
    query = select(User.id, User.name).where(User.id.in_({found for found in ids if found is not None}))
    return {row[0]: row[1] for row in db.execute(query)}


def runs_by_version(db: Session) -> dict[str, int]:
    """How many runs (deleted ones left out) train on each version."""
    found: dict[str, int] = {}
    for sources in db.scalars(select(Run.sources).where(Run.deleted_at.is_(None))):
        for version in {source["version_id"] for source in sources}:
            found[version] = found.get(version, 0) + 1
    return found


def replayed_versions(db: Session, ids: Sequence[str]) -> set[str]:
    """Those of the versions that an evaluation (deleted ones left out) replays."""
    query = select(Evaluation.version_id).where(Evaluation.version_id.in_(ids), Evaluation.deleted_at.is_(None))
    return {version for version in db.scalars(query) if version is not None}
