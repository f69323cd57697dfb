"""Find segments by text, length, annotator, provenance, state or warning."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from backend.core.limits import one_line
from backend.core.schemas import Page
from backend.identity.actor import Actor
from backend.labels.core.checks import UsualRange, codes
from backend.labels.core.findings import FindingCode
from backend.labels.dataset import board
from backend.labels.dataset.board import Labels
from backend.labels.dataset.schemas import SegmentFound
from backend.labels.dataset.service import dataset_row
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.repository import blind_for
from backend.tables.document import Tier
from backend.tables.draft import HANDED_IN, WorkState
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
    usual = board.usual_range(db, dataset, tier)
    hidden = blind_for(db, dataset_id, me.id)
    found: list[SegmentFound] = []
    total = 0
    for labels in board.labels(db, dataset_id, tier, rater=None):
        about = labels.about
        if about.rater == 0 and (about.episode_id, tier) in hidden:
            continue
        if about.rater and about.state not in HANDED_IN and about.assignee_id != me.id:
            continue
        hits = _hits(labels, usual, query)
        shown = hits[max(0, offset - total) : max(0, offset + limit - total)]
        if shown:
            found += _outs(labels, tier, usual, shown)
        total += len(hits)
    names = draft_queries.names(db, {one.annotator_id for one in found})
    return Page(
        items=[one.model_copy(update={"annotator_name": names.get(one.annotator_id or "")}) for one in found],
        total=total,
    )


def _hits(labels: Labels, usual: UsualRange, query: SegmentQuery) -> list[tuple[int, LabelSegment]]:
    """(index, segment) of those that fit."""
    about = labels.about
    if (query.state is not None and about.state is not query.state) or (
        query.annotator is not None and _person(labels) != query.annotator
    ):
        return []
    needle = None if query.text is None else one_line(query.text).casefold()
    hits = [(index, one) for index, one in enumerate(labels.parts) if _fits(one, query, needle)]
    if not hits or query.warning is None:
        return hits
    there = {start for start, code in codes(labels.parts, about.steps, usual) if code is query.warning}
    return [(index, one) for index, one in hits if one.start in there]


def _person(labels: Labels) -> str | None:
    return labels.about.updated_by or labels.about.assignee_id


def _outs(
    labels: Labels, tier: Tier, usual: UsualRange, hits: list[tuple[int, LabelSegment]]
) -> Iterator[SegmentFound]:
    about = labels.about
    found: dict[int, list[FindingCode]] = {}
    for start, code in codes(labels.parts, about.steps, usual):
        found.setdefault(start, []).append(code)
    fps = about.fps or usual.fps
    for index, one in hits:
        yield SegmentFound(
            episode_id=about.episode_id,
            number=about.number,
            tier=tier,
            rater=about.rater or 0,
            state=about.state,
            label_state=about.label_state,
            index=index,
            start=one.start,
            end=one.end,
            seconds=(one.end - one.start) / fps if fps else None,
            text=one.text,
            provenance=one.provenance,
            source=one.source,
            confidence=one.confidence,
            annotator_id=_person(labels),
            annotator_name=None,
            warnings=found.get(one.start, []),
        )


def _fits(segment: LabelSegment, query: SegmentQuery, needle: str | None) -> bool:
    steps = segment.end - segment.start
    return (
        (needle is None or (segment.text.casefold() == needle if query.exact else needle in segment.text.casefold()))
        and (query.min_steps is None or steps >= query.min_steps)
        and (query.max_steps is None or steps <= query.max_steps)
        and (query.provenance is None or segment.provenance == query.provenance)
    )
