"""Find segments by text, length, annotator, provenance, state or warning."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from backend.access import Actor
from backend.annotations import repository as annotations
from backend.annotations.checks import Custom, check, successors
from backend.annotations.models import Tier, WorkState
from backend.annotations.repository import HANDED_IN
from backend.annotations.schemas import FindingCode, FindingOut, Provenance, SegmentOut
from backend.datasets.models import Dataset
from backend.episodes.limits import one_line
from backend.episodes.models import LabelState
from backend.labelling import repository
from backend.labelling.repository import Item
from backend.labelling.schemas import Labelling, SegmentFound
from backend.labelling.service import dataset_row, texts_of
from backend.schemas import Page


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for; None: whatever. text: a part of it, any case. min_steps, max_steps: both included."""

    text: str | None = None
    exact: bool = False
    min_steps: int | None = None
    max_steps: int | None = None
    annotator: str | None = None
    provenance: Provenance | None = None
    state: WorkState | None = None
    warning: FindingCode | None = None


def custom(db: Session, dataset: Dataset, tier: Tier) -> Custom:
    """What is usual in the dataset, all published labels counted."""
    published = annotations.last_revisions(db, dataset.id, tier).values()
    return Custom(
        labelling=Labelling.model_validate(dataset.labelling),
        vocabulary=texts_of(dataset, tier),
        successors=successors([segment["text"] for segment in one.segments] for one in published),
        fps=dataset.fps,
    )


def findings_of(item: Item, usual: Custom) -> list[FindingOut]:
    """All of a draft, the blocking ones too."""
    assert item.draft is not None
    segments = [SegmentOut.model_validate(segment) for segment in item.draft.segments]
    found = check(segments, item.row.steps, usual)
    return [*found.blocking, *found.warnings]


def find(
    db: Session, me: Actor, dataset_id: str, tier: Tier, wanted: Wanted, *, offset: int, limit: int
) -> Page[SegmentFound]:
    """By episode number and step. What blind labelling hides from this person is left out."""
    dataset = dataset_row(db, dataset_id)
    usual = custom(db, dataset, tier)
    hidden = repository.blind_for(db, dataset_id, me.id)
    found: list[SegmentFound] = []
    total = 0
    people: set[str | None] = set()
    for item in repository.all_drafts(db, dataset_id, tier):
        assert item.draft is not None
        if item.draft.rater == 0 and (item.row.id, tier) in hidden:
            continue
        if item.draft.rater > 0 and item.draft.state not in HANDED_IN and item.draft.assignee_id != me.id:
            continue
        for one in _in_draft(item, usual, wanted):
            if offset <= total < offset + limit:
                found.append(one)
                people.add(one.annotator_id)
            total += 1
    names = annotations.names(db, people)
    return Page(
        items=[one.model_copy(update={"annotator_name": names.get(one.annotator_id or "")}) for one in found],
        total=total,
    )


def _in_draft(item: Item, usual: Custom, wanted: Wanted) -> Iterator[SegmentFound]:
    stored = item.draft
    assert stored is not None
    person = stored.updated_by or stored.assignee_id
    if (wanted.state is not None and stored.state is not wanted.state) or (
        wanted.annotator is not None and person != wanted.annotator
    ):
        return
    needle = None if wanted.text is None else one_line(wanted.text).casefold()
    segments = [(index, SegmentOut.model_validate(one)) for index, one in enumerate(stored.segments)]
    kept = [(index, one) for index, one in segments if _fits(one, wanted, needle)]
    if not kept:
        return
    codes: dict[int, list[FindingCode]] = {}
    for finding in findings_of(item, usual):
        codes.setdefault(finding.start, []).append(finding.code)
    fps = item.row.fps or item.dataset.fps
    for index, one in kept:
        if wanted.warning is not None and wanted.warning not in codes.get(one.start, []):
            continue
        yield SegmentFound(
            episode_id=item.row.id,
            number=item.row.number,
            tier=stored.tier,
            rater=stored.rater,
            state=stored.state,
            label_state=LabelState(item.row.label_state),
            index=index,
            start=one.start,
            end=one.end,
            seconds=(one.end - one.start) / fps if fps else None,
            text=one.text,
            provenance=one.provenance,
            source=one.source,
            confidence=one.confidence,
            annotator_id=person,
            annotator_name=None,
            warnings=codes.get(one.start, []),
        )


def _fits(one: SegmentOut, wanted: Wanted, needle: str | None) -> bool:
    steps, text = one.end - one.start, one.text.casefold()
    return (
        (needle is None or (text == needle if wanted.exact else needle in text))
        and (wanted.min_steps is None or steps >= wanted.min_steps)
        and (wanted.max_steps is None or steps <= wanted.max_steps)
        and (wanted.provenance is None or one.provenance is wanted.provenance)
    )
