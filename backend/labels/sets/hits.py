"""Segments of drafts that fulfil conditions: how many there are, and a page of them by episode and place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session

from backend.labels.sets import repository
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_set import LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.label_writing import batches
from backend.tables.segment import LabelSegment

_DENSE = 2000  # hits from which their sets are looked through in order

Places = dict[int, list[int]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for. hidden: sets that blind labelling hides from this person. sets, segments: conditions.
    joined: the latter name columns of the set too."""

    dataset_id: str
    tier: Tier
    me: str
    hidden: Sequence[int]
    sets: Sequence[ColumnElement[bool]]
    segments: Sequence[ColumnElement[bool]]
    joined: bool = False

    @property
    def visible(self) -> ColumnElement[bool]:
        return and_(
            LabelSet.dataset_id == self.dataset_id,
            LabelSet.tier == self.tier,
            repository.visible(self.me, self.hidden),
            *self.sets,
        )


def count(db: Session, wanted: Wanted) -> int:
    if not wanted.segments:
        return int(db.scalar(select(func.coalesce(func.sum(LabelSet.parts), 0)).where(wanted.visible)) or 0)
    if wanted.sets or wanted.joined:
        return db.scalar(_all(wanted, func.count())) or 0
    # the first labels by an index alone, without those that are hidden; the few second ones one by one
    own = (LabelText.dataset_id == wanted.dataset_id, LabelText.tier == wanted.tier, SetSegment.layer == 0)
    texts = select(func.count()).select_from(LabelText).join(SetSegment, SetSegment.text_id == LabelText.id)
    found = db.scalar(texts.where(*own, *wanted.segments)) or 0
    if wanted.hidden:
        less = select(func.count()).select_from(SetSegment).where(SetSegment.set_id.in_(wanted.hidden))
        found -= db.scalar(less.where(*wanted.segments)) or 0
    second = select(LabelSet.id).where(wanted.visible, LabelSet.layer > 0)
    seconds = select(func.count()).select_from(SetSegment).where(SetSegment.set_id.in_(second), *wanted.segments)
    return found + (db.scalar(seconds) or 0)


def _all(wanted: Wanted, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(LabelText)
        .join(SetSegment, SetSegment.text_id == LabelText.id)
        .join(LabelSet, LabelSet.id == SetSegment.set_id)
        .where(LabelText.dataset_id == wanted.dataset_id, LabelText.tier == wanted.tier)
        .where(SetSegment.layer >= 0, wanted.visible, *wanted.segments)
    )


def page(db: Session, wanted: Wanted, total: int, *, offset: int, limit: int) -> Places:
    """Places of the hits by set, in the order of the episodes."""
    if total == 0 or offset >= total:
        return {}
    if not wanted.segments:
        return _of_whole_sets(db, wanted, offset, limit)
    if total >= _DENSE:
        return _in_order(db, wanted, offset, limit)
    if not wanted.sets and not wanted.joined:
        return _few(db, wanted, offset, limit)
    order = (LabelSet.number, LabelSet.layer, SetSegment.place)
    rows = db.execute(_all(wanted, LabelSet.id, SetSegment.place).order_by(*order).offset(offset).limit(limit))
    found: Places = {}
    for set_id, place in rows:
        found.setdefault(set_id, []).append(place)
    return found


def _few(db: Session, wanted: Wanted, offset: int, limit: int) -> Places:
    """The hits by an index, then their sets by number: a plan that no wrong guess of a database can spoil."""
    texts = select(SetSegment.set_id, SetSegment.place).join(LabelText, LabelText.id == SetSegment.text_id)
    own = (LabelText.dataset_id == wanted.dataset_id, LabelText.tier == wanted.tier, SetSegment.layer >= 0)
    rows = db.execute(texts.where(*own, *wanted.segments)).all()
    sets = select(LabelSet.id, LabelSet.number, LabelSet.layer).where(wanted.visible)
    order = {
        row.id: (row.number, row.layer)
        for some in batches({row.set_id for row in rows})
        for row in db.execute(sets.where(LabelSet.id.in_(some)))
    }
    hits = sorted((*order[row.set_id], row.place, row.set_id) for row in rows if row.set_id in order)
    found: Places = {}
    for _, _, place, set_id in hits[offset : offset + limit]:
        found.setdefault(set_id, []).append(place)
    return found


def _in_order(db: Session, wanted: Wanted, offset: int, limit: int) -> Places:
    """Set by set until the page is full: where many segments are hits, that is sooner than sorting them all."""
    found: Places = {}
    passed = 0
    sets = select(LabelSet.id).where(wanted.visible).order_by(LabelSet.number, LabelSet.layer)
    for some in batches(db.scalars(sets)):
        hits: Places = {}
        query = select(SetSegment.set_id, SetSegment.place).join(LabelSet, LabelSet.id == SetSegment.set_id)
        rows = db.execute(query.where(SetSegment.set_id.in_(some), *wanted.segments).order_by(SetSegment.place))
        for set_id, place in rows:
            hits.setdefault(set_id, []).append(place)
        for set_id in some:
            places = hits.get(set_id, [])
            if shown := places[max(0, offset - passed) : max(0, offset + limit - passed)]:
                found[set_id] = shown
            passed += len(places)
        if passed >= offset + limit:
            break
    return found


def _of_whole_sets(db: Session, wanted: Wanted, offset: int, limit: int) -> Places:
    """All segments of sets: nobody looks at more sets than there are before the page's end."""
    found: Places = {}
    passed = 0
    query = select(LabelSet.id, LabelSet.parts).where(wanted.visible).order_by(LabelSet.number, LabelSet.layer)
    for set_id, parts in db.execute(query.execution_options(yield_per=500)):
        places = range(max(0, offset - passed), min(parts, offset + limit - passed))
        if places:
            found[set_id] = list(places)
        passed += parts
        if passed >= offset + limit:
            break
    return found


class About(NamedTuple):
    """What of a draft is not its segments."""

    set_id: int
    episode_id: str
    number: int
    steps: int
    fps: float | None
    label_state: LabelState
    rater: int
    state: WorkState
    person: str | None


def shown(db: Session, places: Places) -> Iterator[tuple[About, tuple[LabelSegment, ...]]]:
    """The drafts of these sets, in their order."""
    columns = (LabelSet.id, LabelSet.episode_id, LabelSet.number, LabelSet.steps, EpisodeRow.fps)
    more = (EpisodeRow.label_state, LabelSet.layer, LabelSet.state, LabelSet.person, Draft.segments)
    own = and_(Draft.episode_id == LabelSet.episode_id, Draft.tier == LabelSet.tier, Draft.rater == LabelSet.layer)
    query = select(*columns, *more).join(EpisodeRow, EpisodeRow.id == LabelSet.episode_id).join(Draft, own)
    for some in batches(places):
        found = {row[0]: row for row in db.execute(query.where(LabelSet.id.in_(some)))}
        for set_id in some:
            *about, segments = found[set_id]
            yield About(*about), segments
