"""Find segments by text, length, annotator, provenance, state or warning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, false, or_, select, tuple_
from sqlalchemy.orm import Session

from backend.core.limits import one_line
from backend.core.paging import limited
from backend.core.schemas import Page
from backend.identity.actor import Actor
from backend.labels.core.checks import UsualRange, codes, codes_of, length_bounds
from backend.labels.core.findings import FindingCode
from backend.labels.dataset.schemas import SegmentFound
from backend.labels.dataset.service import dataset_row
from backend.labels.drafts import repository as draft_queries
from backend.labels.sets import hits
from backend.labels.sets import repository as sets
from backend.labels.sets.hits import About, Wanted
from backend.labels.sets.usual import usual_range
from backend.tables.document import Tier
from backend.tables.draft import WorkState
from backend.tables.episode import LabelState
from backend.tables.label_set import LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.segment import LabelSegment, Provenance


@dataclass(frozen=True, kw_only=True)
class SegmentQuery:
    """What is looked for; None: whatever. text: a part of it, any case. min_steps, max_steps: both included."""

    text: str | None = None
    exact: bool = False
    min_steps: int | None = None
    max_steps: int | None = None
    annotator: str | None = None
    provenance: Provenance | None = None
    state: WorkState | None = None
    warning: FindingCode | None = None


def find(
    db: Session, me: Actor, dataset_id: str, tier: Tier, query: SegmentQuery, *, offset: int, limit: int
) -> Page[SegmentFound]:
    """By episode number and step. What blind labelling hides from this person is left out."""
    dataset = dataset_row(db, dataset_id)
    usual = usual_range(db, dataset, tier)
    wanted = Wanted(
        dataset_id=dataset_id,
        tier=tier,
        me=me.id,
        hidden=sets.hidden_sets(db, dataset_id, tier, me.id),
        sets=_of_sets(query),
        segments=_of_segments(db, dataset_id, tier, query, usual),
        joined=query.warning is FindingCode.LENGTH,
    )
    with limited(db, "Write more of the text, or choose a state, a person or a length."):
        total = hits.count(db, wanted)
        places = hits.page(db, wanted, total, offset=offset, limit=limit)
    found = [
        one
        for about, segments in hits.shown(db, places)
        for one in _outs(about, segments, tier, usual, places[about.set_id])
    ]
    names = draft_queries.names(db, {one.annotator_id for one in found})
    return Page(
        items=[one.model_copy(update={"annotator_name": names.get(one.annotator_id or "")}) for one in found],
        total=total,
    )


def _of_sets(query: SegmentQuery) -> list[ColumnElement[bool]]:
    found = []
    if query.state is not None:
        found.append(LabelSet.state == query.state)
    if query.annotator is not None:
        found.append(LabelSet.person == query.annotator)
    return found


def _of_segments(
    db: Session, dataset_id: str, tier: Tier, query: SegmentQuery, usual: UsualRange
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.text is not None:
        needle = one_line(query.text).casefold()
        fits = LabelText.folded == needle if query.exact else LabelText.folded.contains(needle, autoescape=True)
        ids = select(LabelText.id).where(LabelText.dataset_id == dataset_id, LabelText.tier == tier, fits)
        found.append(SetSegment.text_id.in_(ids))
    if query.min_steps is not None:
        found.append(SetSegment.length >= query.min_steps)
    if query.max_steps is not None:
        found.append(SetSegment.length <= query.max_steps)
    if query.provenance is not None:
        found.append(SetSegment.provenance == query.provenance)
    if query.warning is not None:
        found.append(_warned(db, dataset_id, tier, query.warning, usual))
    return found


def _warned(db: Session, dataset_id: str, tier: Tier, code: FindingCode, usual: UsualRange) -> ColumnElement[bool]:
    """Segments about which the checks say this, put so that an index finds them."""
    if code in {FindingCode.SHORT, FindingCode.LONG}:
        bounds = length_bounds(usual)
        return false() if bounds is None else sets.short_or_long(bounds)[code is FindingCode.LONG]
    if code is FindingCode.LENGTH:
        return and_(LabelSet.misfit.is_(True), SetSegment.place == LabelSet.parts - 1)
    texts = sets.texts(db, dataset_id, tier)
    if code is FindingCode.UNUSUAL_ORDER:
        return _unusual(db, dataset_id, tier, usual, texts)
    if code is FindingCode.SAME_NEIGHBOUR:
        empty = [id for id, text in texts.items() if not text]
        return and_(SetSegment.before_id == SetSegment.text_id, SetSegment.text_id.not_in(empty))
    found: list[ColumnElement[bool]] = []
    by_provenance: dict[frozenset[int], list[Provenance]] = {}
    for provenance in Provenance:
        ids = frozenset(id for id, text in texts.items() if code in codes_of(None, text, provenance, usual))
        by_provenance.setdefault(ids, []).append(provenance)
    for ids, provenances in by_provenance.items():
        if ids:
            said = SetSegment.text_id.in_(sorted(ids))
            found.append(
                said if len(provenances) == len(Provenance) else and_(said, SetSegment.provenance.in_(provenances))
            )
    return or_(*found) if found else false()


def _unusual(db: Session, dataset_id: str, tier: Tier, usual: UsualRange, texts: dict[int, str]) -> ColumnElement[bool]:
    odd: dict[int, list[int]] = {}
    for before, text, _ in sets.pairs(db, dataset_id, tier, (0, 1)):
        if FindingCode.UNUSUAL_ORDER in codes_of(texts[before], texts[text], Provenance.HUMAN, usual):
            odd.setdefault(text, []).append(before)
    pairs = [(text, before) for text, befores in odd.items() for before in befores]
    return tuple_(SetSegment.text_id, SetSegment.before_id).in_(pairs) if pairs else false()


def _outs(
    about: About, segments: Sequence[LabelSegment], tier: Tier, usual: UsualRange, places: Sequence[int]
) -> Iterator[SegmentFound]:
    found: dict[int, list[FindingCode]] = {}
    for start, code in codes(segments, about.steps, usual):
        found.setdefault(start, []).append(code)
    fps = about.fps or usual.fps
    for place in places:
        one = segments[place]
        yield SegmentFound(
            episode_id=about.episode_id,
            number=about.number,
            tier=tier,
            rater=about.rater,
            state=about.state,
            label_state=LabelState(about.label_state),
            index=place,
            start=one.start,
            end=one.end,
            seconds=(one.end - one.start) / fps if fps else None,
            text=one.text,
            provenance=one.provenance,
            source=one.source,
            confidence=one.confidence,
            annotator_id=about.person,
            annotator_name=None,
            warnings=found.get(one.start, []),
        )
