"""A dataset's episodes a page at a time, searched, filtered and sorted by the database."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, or_, select
from sqlalchemy.orm import Session

from backend.core import paging
from backend.core.paging import Order, contains, elements
from backend.episodes.schemas import EpisodesIn, EpisodeSort
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_set import LabelSet

_INDEXED = {EpisodeSort.NUMBER, EpisodeSort.LENGTH, EpisodeSort.CREATED}
_SUCCESS = {"yes": True, "no": False, "unknown": None}


def page(db: Session, dataset_id: str, asked: EpisodesIn) -> tuple[list[EpisodeRow], str | None, int | None]:
    """(episodes, next cursor, total)."""
    own = (EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
    query = select(EpisodeRow).where(*own, *_conditions(db, asked))
    columns: dict[EpisodeSort, SQLColumnExpression[Any]] = {
        EpisodeSort.NUMBER: EpisodeRow.number,
        EpisodeSort.LENGTH: EpisodeRow.steps,
        EpisodeSort.CREATED: EpisodeRow.created_at,
        EpisodeSort.SUCCESS: case((EpisodeRow.success.is_(True), 1), (EpisodeRow.success.is_(False), 0)),
        EpisodeSort.LABELS: case(*((EpisodeRow.label_state == state, at) for at, state in enumerate(LabelState))),
        EpisodeSort.INSTRUCTION: func.lower(EpisodeRow.instruction),
        EpisodeSort.SOURCE: EpisodeRow.source,
        EpisodeSort.SIZE: EpisodeRow.size_bytes,
    }
    order = Order(
        name=asked.sort.value,
        column=columns[asked.sort],
        id=EpisodeRow.id,
        descending=asked.descending,
        nullable=asked.sort is EpisodeSort.SUCCESS,
        then=None if asked.sort in _INDEXED else EpisodeRow.number,
    )
    narrow = "Choose a label state, lengths or a time, or write more of the instruction."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return [row[0] for row in rows], cursor, total


def _conditions(db: Session, asked: EpisodesIn) -> Iterator[ColumnElement[bool]]:
    if asked.id:
        yield EpisodeRow.id.in_(asked.id)
    if asked.search:
        yield contains(EpisodeRow.instruction, asked.search)
    if asked.min_steps is not None:
        yield EpisodeRow.steps >= asked.min_steps
    if asked.max_steps is not None:
        yield EpisodeRow.steps <= asked.max_steps
    if asked.success is not None:
        yield EpisodeRow.success.is_(_SUCCESS[asked.success])
    if asked.label_state is not None:
        yield EpisodeRow.label_state == asked.label_state
    if asked.since is not None:
        yield EpisodeRow.created_at >= asked.since
    if asked.until is not None:
        yield EpisodeRow.created_at <= asked.until
    if asked.person is not None:
        own = (LabelSet.tier == Tier.SUBSTEP, LabelSet.layer == 0)
        whose = or_(LabelSet.person == asked.person, LabelSet.assignee_id == asked.person)
        yield EpisodeRow.id.in_(select(LabelSet.episode_id).where(*own, whose))
    if asked.tag is not None:
        yield _tagged(db, asked.tag)


def _tagged(db: Session, tag: str) -> ColumnElement[bool]:
    tags = elements(db, EpisodeRow.tags)
    return select(tags.c.value).where(tags.c.value == tag).exists()
