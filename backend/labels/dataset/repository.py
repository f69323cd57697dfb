"""Queries over all drafts of a dataset, or of a person."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, desc, func, or_, select
from sqlalchemy.orm import Session, aliased, defer

from backend.core.db import db_seconds
from backend.core.roles import Role
from backend.labels.sets import repository as sets
from backend.tables.audit_entry import AuditEntry
from backend.tables.bulk_change import BulkChange
from backend.tables.dataset import Dataset
from backend.tables.document import DOCUMENT, Tier
from backend.tables.draft import SUBMITTED_STATES, Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import PUBLISHED, LabelSet
from backend.tables.label_writing import batches
from backend.tables.review_note import ReviewNote
from backend.tables.segment import LabelSegment
from backend.tables.user import User

OPEN = (WorkState.CLAIMED, WorkState.IN_PROGRESS, WorkState.REJECTED, WorkState.REOPENED)


@dataclass(frozen=True, kw_only=True)
class Item:
    """An episode with one of its drafts, or with none. texts: its segments with a text, where they are not read."""

    row: EpisodeRow
    draft: Draft | None
    dataset: Dataset
    now: float
    texts: int | None = None

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
    query = query.with_for_update(of=EpisodeRow) if lock else query
    if ids is None:
        return [_item(row) for row in db.execute(query)]
    found = [_item(row) for some in batches(dict.fromkeys(ids)) for row in db.execute(query.where(_among(some)))]
    return sorted(found, key=lambda item: item.row.number)


def _item(row: Any) -> Item:
    return Item(row=row[0], draft=row[1], dataset=row[2], now=row[3])


def _among(ids: Sequence[str]) -> ColumnElement[bool]:
    return EpisodeRow.id.in_(ids)


def lock_episodes(db: Session, dataset_id: str) -> None:
    """Nobody changes a draft of the dataset before this transaction is over."""
    query = select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
    db.execute(query.order_by(EpisodeRow.number).with_for_update()).all()


def forget(db: Session) -> None:
    """Let go of the episodes and labels that this session has read and written; nothing of them is waiting any more.
    Bulk edits work through more of them than fit into memory."""
    db.flush()
    kinds = (EpisodeRow, Draft, LabelHistory, LabelRevision, AuditEntry)
    for row in [row for row in db.identity_map.values() if isinstance(row, kinds)]:
        db.expunge(row)


def queue(
    db: Session, where: Sequence[ColumnElement[bool]], *, tier: Tier, every: bool, offset: int, limit: int
) -> list[Item]:
    """Drafts that fulfil `where` (conditions on LabelSet, Dataset, and with `every` EpisodeRow), by dataset and number,
    without their segments. every: episodes without one too."""
    query = _queue(where, tier, every).order_by(Dataset.name, EpisodeRow.number if every else LabelSet.number)
    rows = db.execute(query.order_by(LabelSet.layer).offset(offset).limit(limit)).all()
    own = and_(Draft.episode_id == EpisodeRow.id, Draft.tier == tier)
    found = (
        select(EpisodeRow, Draft, Dataset, db_seconds())
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .outerjoin(Draft, own)
        .where(EpisodeRow.id.in_({row.episode_id for row in rows}))
        .options(defer(Draft.segments))
    )
    items: dict[tuple[str, int | None], Any] = {
        (row[0].id, None if row[1] is None else row[1].rater): row for row in db.execute(found)
    }
    return [_queued(items.get((row.episode_id, row.layer)), items, row) for row in rows]


def _queued(found: Any, items: Mapping[tuple[str, int | None], Any], row: Any) -> Item:
    """The episode without a draft that there is, where only the second rater has one."""
    if found is None:
        episode, _, dataset, now = next(one for (id, _), one in items.items() if id == row.episode_id)
        return Item(row=episode, draft=None, dataset=dataset, now=now, texts=0)
    return Item(row=found[0], draft=found[1], dataset=found[2], now=found[3], texts=row.texts or 0)


def how_many(db: Session, where: Sequence[ColumnElement[bool]], *, tier: Tier, every: bool) -> int:
    return db.scalar(select(func.count()).select_from(_queue(where, tier, every).subquery())) or 0


def _queue(where: Sequence[ColumnElement[bool]], tier: Tier, every: bool) -> Any:  # Select's type parameters differ
    there = and_(LabelSet.tier == tier, LabelSet.layer >= 0)
    if not every:
        query = select(LabelSet.episode_id, LabelSet.layer, LabelSet.texts).join(
            Dataset, Dataset.id == LabelSet.dataset_id
        )
        return query.where(there, *where)
    own = and_(LabelSet.episode_id == EpisodeRow.id, there)
    return (
        select(EpisodeRow.id.label("episode_id"), LabelSet.layer, LabelSet.texts)
        .join(Dataset, Dataset.id == EpisodeRow.dataset_id)
        .outerjoin(LabelSet, own)
        .where(EpisodeRow.deleted_at.is_(None), *where)
    )


def done_by_others(db: Session, dataset_id: str, tier: Tier, me: str, count: int) -> list[str]:
    """At most `count` episodes that somebody else has submitted and nobody labels a second time, by chance."""
    second = aliased(LabelSet)
    taken = select(second.id).where(second.episode_id == LabelSet.episode_id, second.tier == tier, second.layer == 1)
    own = and_(Draft.episode_id == LabelSet.episode_id, Draft.tier == tier, Draft.rater == 0)
    query = (
        select(LabelSet.episode_id, Draft.contributors)
        .join(Draft, own)
        .where(
            *sets.of_layer(dataset_id, tier, 0),
            LabelSet.state.in_(SUBMITTED_STATES),
            LabelSet.edit > 0,
            ~taken.exists(),
        )
        .where(*(or_(column.is_(None), column != me) for column in (Draft.assignee_id, Draft.submitted_by)))
        .where(or_(Draft.updated_by.is_(None), Draft.updated_by != me))
        .order_by(LabelSet.chance)
    )
    found: list[str] = []
    for episode_id, contributors in db.execute(query.execution_options(yield_per=100)):
        if len(found) == count:
            break
        if me not in contributors:
            found.append(episode_id)
    return found


def mine(me: str) -> list[ColumnElement[bool]]:
    return [LabelSet.assignee_id == me, LabelSet.state.in_(OPEN)]


def blindly_labelled_by(me: str, tier: Tier) -> ColumnElement[bool]:
    """Episodes whose first labels this person may not see yet."""
    second = aliased(LabelSet)
    own = (second.tier == tier, second.layer > 0, second.assignee_id == me, second.state.not_in(SUBMITTED_STATES))
    return LabelSet.episode_id.in_(select(second.episode_id).where(*own))


def any_second(me: str, tier: Tier) -> ColumnElement[bool]:
    """Episodes that this person labels, or labelled, as the second rater."""
    second = aliased(LabelSet)
    own = (second.tier == tier, second.layer > 0, second.assignee_id == me)
    return EpisodeRow.id.in_(select(second.episode_id).where(*own))


def free() -> ColumnElement[bool]:
    """Nobody has it."""
    untouched = and_(LabelSet.layer == 0, LabelSet.assignee_id.is_(None), LabelSet.state == WorkState.UNASSIGNED)
    return or_(LabelSet.id.is_(None), untouched)


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


# --- labels alone ---------------------------------------------------------------------------------------------

_AT_ONCE = 200  # episodes whose labels are in memory


def documents(db: Session, dataset_id: str, tier: Tier, *, drafts: bool) -> Iterator[tuple[Any, Any, str | None]]:
    """(episode, what is said of it, by whom) of first drafts or of the newest revisions, by number."""
    columns = (EpisodeRow.id, EpisodeRow.number, EpisodeRow.identity, EpisodeRow.steps, EpisodeRow.fps)
    layer = 0 if drafts else PUBLISHED
    there = and_(LabelSet.episode_id == EpisodeRow.id, LabelSet.tier == tier, LabelSet.layer == layer)
    last = -1
    while True:
        query = select(*columns).join(LabelSet, there).where(LabelSet.dataset_id == dataset_id, LabelSet.number > last)
        episodes = db.execute(query.order_by(LabelSet.number).limit(_AT_ONCE)).all()
        if not episodes:
            return
        last = episodes[-1].number
        said = _said(db, [one.id for one in episodes], tier, drafts=drafts)
        for one in episodes:
            document = said[one.id]
            yield one, document, document.updated_by if drafts else document.published_by


def _said(db: Session, ids: Sequence[str], tier: Tier, *, drafts: bool) -> dict[str, Any]:
    kind: Any = Draft if drafts else LabelRevision
    columns = [getattr(kind, name) for name in ("episode_id", *DOCUMENT, "updated_by" if drafts else "published_by")]
    query = select(*columns).where(kind.episode_id.in_(ids), kind.tier == tier)
    if drafts:
        query = query.where(Draft.rater == 0)
    else:
        newest = and_(LabelSet.episode_id == LabelRevision.episode_id, LabelSet.edit == LabelRevision.number)
        query = query.join(LabelSet, newest).where(LabelSet.tier == tier, LabelSet.layer == PUBLISHED)
    return {row.episode_id: row for row in db.execute(query)}


def first_without_rate(db: Session, dataset_id: str, tier: Tier, *, drafts: bool) -> int | None:
    """Number of the first labelled episode that does not say its rate."""
    where = sets.of_layer(dataset_id, tier, 0 if drafts else PUBLISHED)
    query = select(func.min(LabelSet.number)).join(EpisodeRow, EpisodeRow.id == LabelSet.episode_id)
    return db.scalar(query.where(*where, EpisodeRow.fps.is_(None)))


def everybody(db: Session) -> dict[str, str]:
    """Names by id."""
    return {row[0]: row[1] for row in db.execute(select(User.id, User.name))}


# --- figures --------------------------------------------------------------------------------------------------


def days(db: Session, dataset_id: str, count: int) -> list[tuple[str, int, int]]:
    """(day in UTC, submissions, publications) of the last days on which there were any, oldest first."""
    sqlite = db.get_bind().dialect.name == "sqlite"
    moment = LabelHistory.created_at
    day = func.date(moment) if sqlite else func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD")
    kinds = (HistoryKind.SUBMITTED, HistoryKind.PUBLISHED)
    how_many = [func.sum(case((LabelHistory.kind == kind, 1), else_=0)) for kind in kinds]
    query = select(day.label("day"), *how_many).where(
        LabelHistory.dataset_id == dataset_id, LabelHistory.kind.in_(kinds)
    )
    found = db.execute(query.group_by("day").order_by(desc("day")).limit(count)).all()
    return [(row[0], int(row[1]), int(row[2])) for row in reversed(found)]


def reviews(db: Session, dataset_id: str, tier: Tier) -> dict[HistoryKind, int]:
    """Approvals and rejections."""
    kinds = (HistoryKind.APPROVED, HistoryKind.REJECTED)
    query = select(LabelHistory.kind, func.count()).where(
        LabelHistory.dataset_id == dataset_id, LabelHistory.kind.in_(kinds), LabelHistory.tier == tier
    )
    return {kind: count for kind, count in db.execute(query.group_by(LabelHistory.kind))}


@dataclass(kw_only=True)
class PersonSums:
    """What a person did, and what others did about their work; the sums are of the newest submission of each draft."""

    did: Counter[HistoryKind] = field(default_factory=Counter)
    underwent: Counter[HistoryKind] = field(default_factory=Counter)
    last_active: datetime | None = None
    texts: int = 0
    labelled_steps: int = 0
    accepted: int = 0
    edited: int = 0


def people(db: Session, *, dataset_id: str | None, since: datetime | None) -> dict[str, PersonSums]:
    """By person; those about whose work somebody said something too."""
    where: list[ColumnElement[bool]] = [] if dataset_id is None else [LabelHistory.dataset_id == dataset_id]
    if since is not None:
        where.append(LabelHistory.created_at >= since)
    found: dict[str, PersonSums] = {}
    groups = (LabelHistory.by_id, LabelHistory.about_id, LabelHistory.kind)
    query = select(*groups, func.count(), func.max(LabelHistory.created_at)).where(*where).group_by(*groups)
    for by_id, about_id, kind, count, last in db.execute(query):
        if about_id is not None:
            found.setdefault(about_id, PersonSums()).underwent[kind] += count
        if by_id is not None:
            person = found.setdefault(by_id, PersonSums())
            person.did[kind] += count
            person.last_active = last if person.last_active is None else max(person.last_active, last)
    own = (LabelHistory.by_id, LabelHistory.episode_id, LabelHistory.tier, LabelHistory.rater)
    newest = func.row_number().over(partition_by=own, order_by=LabelHistory.created_at.desc()).label("age")
    names = ("texts", "labelled_steps", "accepted", "edited")
    columns = [getattr(LabelHistory, name) for name in names]
    submitted = select(LabelHistory.by_id, *columns, newest).where(
        *where, LabelHistory.kind == HistoryKind.SUBMITTED, LabelHistory.by_id.is_not(None)
    )
    newest_of = submitted.subquery()
    sums = select(newest_of.c.by_id, *(func.sum(newest_of.c[name]) for name in names)).where(newest_of.c.age == 1)
    for by_id, *values in db.execute(sums.group_by(newest_of.c.by_id)):
        for name, value in zip(names, values, strict=True):
            setattr(found[by_id], name, int(value or 0))
    return found


def active_datasets(db: Session, since: datetime | None) -> list[str]:
    """Datasets whose labels somebody worked on since a time, or ever."""
    moved = select(LabelHistory.id).where(LabelHistory.dataset_id == Dataset.id)
    if since is not None:
        moved = moved.where(LabelHistory.created_at >= since)
    return list(db.scalars(select(Dataset.id).where(moved.exists()).order_by(Dataset.id)))


class Double(NamedTuple):
    """An episode that two people labelled, both done."""

    episode_id: str
    number: int
    steps: int
    first_edit: int
    second_edit: int
    first_person: str | None
    second_person: str | None


def doubles(db: Session, dataset_id: str, tier: Tier) -> list[Double]:
    """By number."""
    first, second = aliased(LabelSet), aliased(LabelSet)
    same = and_(first.episode_id == second.episode_id, first.tier == tier, first.layer == 0)
    query = (
        select(
            second.episode_id,
            second.number,
            second.steps,
            first.edit,
            second.edit,
            func.coalesce(first.submitted_by, first.assignee_id),
            func.coalesce(second.submitted_by, second.assignee_id),
        )
        .join(first, same)
        .where(second.dataset_id == dataset_id, second.tier == tier, second.layer == 1)
        .where(second.state.in_(SUBMITTED_STATES), first.edit > 0)
    )
    return [Double(*row) for row in db.execute(query.order_by(second.number))]


def both_labels(
    db: Session, ids: Sequence[str], tier: Tier
) -> Iterator[tuple[str, tuple[LabelSegment, ...], tuple[LabelSegment, ...]]]:
    """(episode, first labels, second labels)."""
    for some in batches(ids):
        query = select(Draft.episode_id, Draft.rater, Draft.segments).where(
            Draft.episode_id.in_(some), Draft.tier == tier, Draft.rater.in_((0, 1))
        )
        found: dict[str, dict[int, tuple[LabelSegment, ...]]] = {}
        for episode_id, rater, segments in db.execute(query):
            found.setdefault(episode_id, {})[rater] = segments
        for episode_id, both in found.items():
            if len(both) == 2:
                yield episode_id, both[0], both[1]


def changes(db: Session, dataset_id: str) -> Sequence[BulkChange]:
    """Newest first."""
    query = select(BulkChange).where(BulkChange.dataset_id == dataset_id)
    return db.scalars(query.order_by(BulkChange.created_at.desc())).all()
