"""Queries about all labels of a dataset: sums and groups that the database makes, never the labels themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from backend.tables.document import Quality, Tier
from backend.tables.draft import SUBMITTED_STATES, Draft, WorkState
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.label_set import FORMER, PUBLISHED, LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.segment import Provenance


class Tally(NamedTuple):
    """Segments of a text after a text (None: at the start), of a provenance: how many, their steps, and in how many
    sets it is the first of its text."""

    text_id: int
    before_id: int | None
    provenance: Provenance
    segments: int
    steps: int
    firsts: int


class Totals(NamedTuple):
    """Sets of a state, with what is said about the episodes."""

    state: WorkState | None
    success: bool | None
    quality: Quality | None
    tags: str
    sets: int
    steps: int
    texts: int
    labelled_steps: int
    misfits: int
    accepted: int
    edited: int


# --- texts ----------------------------------------------------------------------------------------------------


def texts(db: Session, dataset_id: str, tier: Tier) -> dict[int, str]:
    """By number; some may not be in use any more."""
    query = select(LabelText.id, LabelText.text).where(LabelText.dataset_id == dataset_id, LabelText.tier == tier)
    return {id: text for id, text in db.execute(query)}


def text_id(db: Session, dataset_id: str, tier: Tier, text: str) -> int | None:
    own = (LabelText.dataset_id == dataset_id, LabelText.tier == tier, LabelText.text == text)
    return db.scalar(select(LabelText.id).where(*own))


# --- counting -------------------------------------------------------------------------------------------------


def _segments(dataset_id: str, tier: Tier, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(LabelText)
        .join(SetSegment, SetSegment.text_id == LabelText.id)
        .where(LabelText.dataset_id == dataset_id, LabelText.tier == tier)
    )


_firsts = func.sum(case((SetSegment.first.is_(True), 1), else_=0))


def tallies(db: Session, dataset_id: str, tier: Tier, layer: int) -> list[Tally]:
    """Of a whole layer, by an index alone."""
    groups = (LabelText.id, SetSegment.before_id, SetSegment.provenance)
    query = _segments(dataset_id, tier, *groups, func.count(), func.sum(SetSegment.length), _firsts)
    return [Tally(*row) for row in db.execute(query.where(SetSegment.layer == layer).group_by(*groups))]


def tallies_of(db: Session, sets: Sequence[int]) -> list[Tally]:
    groups = (SetSegment.text_id, SetSegment.before_id, SetSegment.provenance)
    query = select(*groups, func.count(), func.sum(SetSegment.length), _firsts)
    return [Tally(*row) for row in db.execute(query.where(SetSegment.set_id.in_(sets)).group_by(*groups))]


def pairs(db: Session, dataset_id: str, tier: Tier, layers: Sequence[int]) -> list[tuple[int, int, int]]:
    """(text before, text, how often) of neighbours."""
    groups = (LabelText.id, SetSegment.before_id)
    found: list[tuple[int, int, int]] = []
    for layer in layers:
        query = _segments(dataset_id, tier, *groups, func.count()).where(SetSegment.layer == layer)
        rows = db.execute(query.where(SetSegment.before_id.is_not(None)).group_by(*groups))
        found += [(before, text, count) for text, before, count in rows]
    return found


def used(db: Session, dataset_id: str, tier: Tier, layer: int) -> dict[str, int]:
    """Segments of each text."""
    query = _segments(dataset_id, tier, LabelText.id, func.count()).where(SetSegment.layer == layer)
    counts = {id: count for id, count in db.execute(query.group_by(LabelText.id))}
    return {text: counts[id] for id, text in texts(db, dataset_id, tier).items() if text and id in counts}


def published_alone(db: Session, dataset_id: str, tier: Tier) -> dict[str, int]:
    """Segments of each text in published labels of episodes without a draft."""
    draft = aliased(LabelSet)
    none = (
        ~select(draft.id).where(draft.episode_id == LabelSet.episode_id, draft.tier == tier, draft.layer == 0).exists()
    )
    query = (
        select(LabelText.text, func.count())
        .select_from(LabelSet)
        .join(SetSegment, SetSegment.set_id == LabelSet.id)
        .join(LabelText, LabelText.id == SetSegment.text_id)
        .where(*of_layer(dataset_id, tier, PUBLISHED), none)
        .group_by(LabelText.text)
    )
    return {text: count for text, count in db.execute(query) if text}


def odd_lengths(db: Session, dataset_id: str, tier: Tier, layer: int, bounds: tuple[int, int]) -> tuple[int, int]:
    """How many segments are shorter and longer than the bounds."""
    query = _segments(dataset_id, tier, func.count()).where(SetSegment.layer == layer)
    short, long = short_or_long(bounds)
    return db.scalar(query.where(short)) or 0, db.scalar(query.where(long)) or 0


def short_or_long(bounds: tuple[int, int]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    least, most = bounds
    return SetSegment.length < least, SetSegment.length > max(most, least - 1)


def odd_lengths_of(db: Session, ids: Sequence[int], bounds: tuple[int, int]) -> tuple[int, int]:
    """The same of some sets."""
    query = select(func.count()).select_from(SetSegment).where(SetSegment.set_id.in_(ids))
    short, long = short_or_long(bounds)
    return db.scalar(query.where(short)) or 0, db.scalar(query.where(long)) or 0


def misfits_of(db: Session, ids: Sequence[int]) -> int:
    query = select(func.count()).select_from(LabelSet).where(LabelSet.id.in_(ids), LabelSet.misfit.is_(True))
    return db.scalar(query) or 0


def median_length(db: Session, text: int, layer: int, count: int, *, but: Sequence[int]) -> float:
    """Of the `count` segments of a text in other sets than `but`: the one in the middle of an index, or the mean of
    two."""
    query = select(SetSegment.length).where(SetSegment.text_id == text, SetSegment.layer == layer)
    if but:
        query = query.where(SetSegment.set_id.not_in(but))
    middle = query.order_by(SetSegment.length).offset((count - 1) // 2).limit(2 - count % 2)
    found = list(db.scalars(middle))
    return float(sum(found)) / len(found)


# --- sets -----------------------------------------------------------------------------------------------------


def of_layer(dataset_id: str, tier: Tier, layer: int) -> tuple[ColumnElement[bool], ...]:
    return LabelSet.dataset_id == dataset_id, LabelSet.tier == tier, LabelSet.layer == layer


def totals(db: Session, dataset_id: str, tier: Tier, layer: int) -> list[Totals]:
    groups = (LabelSet.state, LabelSet.success, LabelSet.quality, LabelSet.tags)
    sums = (LabelSet.steps, LabelSet.texts, LabelSet.labelled_steps, case((LabelSet.misfit, 1), else_=0))
    query = select(*groups, func.count(), *(func.sum(one) for one in (*sums, LabelSet.accepted, LabelSet.edited)))
    rows = db.execute(query.where(*of_layer(dataset_id, tier, layer)).group_by(*groups))
    return [Totals(*row[:4], *(int(value) for value in row[4:])) for row in rows]


def by_state(db: Session, dataset_id: str, tier: Tier, layer: int) -> dict[WorkState | None, int]:
    query = select(LabelSet.state, func.count()).where(*of_layer(dataset_id, tier, layer)).group_by(LabelSet.state)
    return {state: count for state, count in db.execute(query)}


def machine_made(db: Session, dataset_id: str, tier: Tier, layer: int) -> tuple[int, int]:
    """Segments that were (accepted, edited)."""
    query = select(func.coalesce(func.sum(LabelSet.accepted), 0), func.coalesce(func.sum(LabelSet.edited), 0))
    accepted, edited = db.execute(query.where(*of_layer(dataset_id, tier, layer))).one()
    return int(accepted), int(edited)


def episodes(db: Session, dataset_id: str) -> tuple[int, int]:
    """(episodes, steps) of a dataset."""
    query = select(func.count(), func.coalesce(func.sum(EpisodeRow.steps), 0))
    own = (EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
    count, steps = db.execute(query.where(*own)).one()
    return count, int(steps)


def without_set(tier: Tier, layer: int = 0) -> ColumnElement[bool]:
    """Episodes that have no labels of this layer."""
    there = (LabelSet.episode_id == EpisodeRow.id, LabelSet.tier == tier, LabelSet.layer == layer)
    return ~select(LabelSet.id).where(*there).exists()


def said_without_draft(db: Session, dataset_id: str, tier: Tier) -> list[tuple[bool | None, str | None, list[Any]]]:
    """(success, quality, tags) of the episodes that have no draft."""
    query = select(EpisodeRow.success, EpisodeRow.quality, EpisodeRow.tags)
    own = (EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None), without_set(tier))
    return [(row[0], row[1], row[2]) for row in db.execute(query.where(*own))]


def hidden_sets(db: Session, dataset_id: str, tier: Tier, me: str) -> list[int]:
    """First labels of the episodes that this person labels blind and is not done with."""
    second = aliased(LabelSet)
    query = (
        select(LabelSet.id)
        .join(second, and_(second.episode_id == LabelSet.episode_id, second.tier == tier, second.layer > 0))
        .where(second.assignee_id == me, second.state.not_in(SUBMITTED_STATES))
        .where(*of_layer(dataset_id, tier, 0))
    )
    return list(db.scalars(query))


def visible(me: str, hidden: Sequence[int]) -> ColumnElement[bool]:
    """Drafts that blind labelling does not hide from this person. hidden: see hidden_sets."""
    own = or_(LabelSet.state.in_(SUBMITTED_STATES), LabelSet.assignee_id == me)
    first = LabelSet.layer == 0
    return or_(and_(first, LabelSet.id.not_in(hidden)) if hidden else first, and_(LabelSet.layer > 0, own))


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who works on a draft right now."""

    episode_id: str
    rater: int
    user_id: str | None


def held(db: Session, dataset_id: str, tier: Tier, now: float, until: float) -> list[Holder]:
    """Drafts of a dataset whose lease is running: ends after `now` and not after `until`."""
    query = (
        select(Draft.episode_id, Draft.rater, Draft.lease_holder)
        .join(EpisodeRow, EpisodeRow.id == Draft.episode_id)
        .where(Draft.lease_until > now, Draft.lease_until <= until, Draft.tier == tier)
        .where(EpisodeRow.dataset_id == dataset_id)
    )
    return [Holder(episode_id=row[0], rater=row[1], user_id=row[2]) for row in db.execute(query)]


class Brought(NamedTuple):
    """First substeps of an episode that are as its file brought them. id: of their LabelSet."""

    id: int
    episode_id: str
    number: int
    steps: int
    edit: int
    state: WorkState | None
    assignee_id: str | None
    labelled_steps: int
    misfit: bool


def brought(db: Session, dataset_id: str) -> list[Brought]:
    """By number; of episodes that came as files, nothing of which is published."""
    columns = [getattr(LabelSet, name) for name in Brought._fields]
    own = and_(Draft.episode_id == LabelSet.episode_id, Draft.tier == LabelSet.tier, Draft.rater == LabelSet.layer)
    query = (
        select(*columns)
        .join(EpisodeRow, EpisodeRow.id == LabelSet.episode_id)
        .join(Draft, own)
        .where(
            *of_layer(dataset_id, Tier.SUBSTEP, 0),
            LabelSet.texts > 0,
            EpisodeRow.deleted_at.is_(None),
            EpisodeRow.source.in_((EpisodeSource.IMPORTED, EpisodeSource.UPLOADED)),
            EpisodeRow.label_state == LabelState.UNLABELLED,
            Draft.updated_by.is_(None),
        )
        .order_by(LabelSet.number)
    )
    return [Brought(*row) for row in db.execute(query)]


def in_use(db: Session, text: int, layer: int) -> bool:
    query = select(SetSegment.set_id).where(SetSegment.text_id == text, SetSegment.layer == layer)
    return db.scalar(query.limit(1)) is not None


class Saying(NamedTuple):
    """A set that says a text: where, in which edit, in how many segments."""

    episode_id: str
    number: int
    layer: int
    edit: int
    segments: int


def saying(db: Session, text: int, layers: Iterable[int]) -> list[Saying]:
    """By episode number."""
    counts = (
        select(SetSegment.set_id, func.count().label("count"))
        .where(SetSegment.text_id == text, SetSegment.layer.in_(list(layers)))
        .group_by(SetSegment.set_id)
        .subquery()
    )
    columns = (LabelSet.episode_id, LabelSet.number, LabelSet.layer, LabelSet.edit, counts.c.count)
    query = select(*columns).join(counts, counts.c.set_id == LabelSet.id).order_by(LabelSet.number, LabelSet.layer)
    return [Saying(*row) for row in db.execute(query)]


def published_stamp(db: Session, dataset_id: str, tier: Tier) -> tuple[int, int]:
    """Another one after every publication: each has a number of its own."""
    found = [0, 0]
    for layer in (PUBLISHED, FORMER):
        query = select(func.count(), func.coalesce(func.sum(LabelSet.id), 0)).where(*of_layer(dataset_id, tier, layer))
        count, numbers = db.execute(query).one()
        found[0] += count
        found[1] += int(numbers)
    return found[0], found[1]


def published_texts(db: Session, episode_id: str, tier: Tier) -> list[str]:
    """What the published labels of an episode say, in order."""
    query = (
        select(LabelText.text)
        .select_from(LabelSet)
        .join(SetSegment, SetSegment.set_id == LabelSet.id)
        .join(LabelText, LabelText.id == SetSegment.text_id)
        .where(LabelSet.episode_id == episode_id, LabelSet.tier == tier, LabelSet.layer == PUBLISHED)
    )
    return list(db.scalars(query.order_by(SetSegment.place)))
