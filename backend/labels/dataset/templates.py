"""The usual sequence of substeps put onto many episodes that nobody has labelled, as proposals."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from backend.core.errors import InvalidError
from backend.identity.actor import Actor
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.changes import change_draft, store_change
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import AlignedOut, ApplyTemplateIn, ChangeResult, SkippedOut
from backend.labels.dataset.service import dataset_row
from backend.labels.proposals.service import usual_sequence
from backend.studio.context import Studio
from backend.tables.bulk_change import ChangeKind
from backend.tables.document import Tier
from backend.tables.episode import LabelState
from backend.tables.label_history import HistoryKind
from backend.tables.segment import LabelSegment, Provenance

MOST_ALIGNED = 200  # episodes whose motion is read within a request

Put = tuple[tuple[LabelSegment, ...], AlignedOut]


def apply_template(studio: Studio, me: Actor, dataset_id: str, body: ApplyTemplateIn) -> ChangeResult:
    """align False: parts of equal length. align True: at the boundaries that the motion suggests, and the result says
    where their number is not the template's. Motions are read before the transaction that writes."""
    with studio.db.transaction(write=False) as db:
        texts, fitting, skipped = _fitting(db, dataset_id, body, lock=False)
        put = _aligned(db, studio, fitting, texts, body) if body.align else {}
    aligned = [about for _, about in put.values()]
    if body.preview or not fitting:
        return ChangeResult(change=None, changed=len(fitting), skipped=skipped, aligned=aligned)
    with studio.db.transaction() as db:
        row = dataset_row(db, dataset_id, lock=True)
        texts_now, fitting, skipped = _fitting(db, dataset_id, body, lock=True)
        if body.align:  # not what changed while motions were read
            late = [item for item in fitting if item.row.id not in put or texts_now != texts]
            skipped += [_skipped(item, "it was added or changed just now; try again") for item in late]
            fitting = [item for item in fitting if item not in late]
        entries = [
            change_draft(
                db,
                me,
                item,
                put[item.row.id][0] if body.align else _evenly(texts_now, item.row.steps),
                HistoryKind.TEMPLATE,
                tier=body.tier,
            )
            for item in fitting
        ]
        if not entries:
            return ChangeResult(change=None, changed=0, skipped=skipped, aligned=aligned)
        parameters = {"tier": body.tier.value, "texts": list(texts_now), "align": body.align}
        change = store_change(db, me, studio, row, ChangeKind.TEMPLATE, parameters, entries)
        return ChangeResult(change=change, changed=len(entries), skipped=skipped, aligned=aligned)


def _fitting(
    db: Session, dataset_id: str, body: ApplyTemplateIn, *, lock: bool
) -> tuple[Sequence[str], list[Item], list[SkippedOut]]:
    """The texts, the episodes that take them, and the others with the reason."""
    row = dataset_row(db, dataset_id)
    texts = body.texts or Labelling.model_validate(row.labelling).template
    if not texts:
        raise InvalidError("There is no template: name its texts, or set the dataset's in its labelling settings.")
    fitting: list[Item] = []
    skipped: list[SkippedOut] = []
    for item in repository.items(db, dataset_id, body.tier, ids=body.episode_ids, lock=lock):
        reason = _not_proposable(item, len(texts), body.tier)
        if reason is None:
            fitting.append(item)
        else:
            skipped.append(_skipped(item, reason))
    return texts, fitting, skipped


def _skipped(item: Item, reason: str) -> SkippedOut:
    return SkippedOut(episode_id=item.row.id, number=item.row.number, reason=reason)


def _not_proposable(item: Item, texts: int, tier: Tier) -> str | None:
    if item.held:
        return "somebody is editing it"
    if item.row.steps < texts:
        return f"it has {item.row.steps} steps, fewer than the template's {texts} texts"
    if tier is Tier.SUBSTEP and item.row.label_state == LabelState.PUBLISHED:
        return "it is published"
    if item.draft is not None and any(segment.text for segment in item.draft.segments):
        return "it has labels or proposals already"
    return None


def _aligned(
    db: Session, studio: Studio, fitting: Sequence[Item], texts: Sequence[str], body: ApplyTemplateIn
) -> dict[str, Put]:
    """By episode: the segments, and how well the motion's boundaries fit the template."""
    if body.tier is not Tier.SUBSTEP:
        raise InvalidError("Only substeps have boundaries in the motion; apply the plan's template in equal parts.")
    if len(fitting) > MOST_ALIGNED:
        raise InvalidError(
            f"{len(fitting)} motions would have to be read; name at most {MOST_ALIGNED} episodes at a time."
        )
    return {item.row.id: _align(db, studio, item, texts) for item in fitting}


def _align(db: Session, studio: Studio, item: Item, texts: Sequence[str]) -> Put:
    found, _, report = usual_sequence(db, studio, item.row, texts)
    segments = tuple(_proposed(one.start, one.end, one.text, one.confidence) for one in found)
    about = AlignedOut(
        episode_id=item.row.id,
        number=item.row.number,
        expected=report["expected"],
        found=report["found"],
        guessed=len(report["guessed"]),
        mismatch=report["mismatch"],
    )
    return segments, about


def _evenly(texts: Sequence[str], steps: int) -> tuple[LabelSegment, ...]:
    edges = [steps * place // len(texts) for place in range(len(texts) + 1)]
    return tuple(_proposed(start, end, text, None) for start, end, text in zip(edges, edges[1:], texts, strict=False))


def _proposed(start: int, end: int, text: str, confidence: float | None) -> LabelSegment:
    return LabelSegment(start, end, text, Provenance.PROPOSED, "template", confidence)
