"""Labels of sources -> those of what is made of them: clipped, moved, and gone where nothing of their steps is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from backend.core.db import new_id, utc_now
from backend.editing import repository
from backend.labels.core.start import empty
from backend.labels.drafts.repository import last_revision
from backend.labels.drafts.revisions import document_of, grow_vocabulary
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_revision import LabelRevision
from backend.tables.proposal import Proposal
from backend.tables.segment import LabelSegment, ProposalSegment
from dexvla.editing.places import placed, placed_steps
from dexvla.spec import Piece


@dataclass(frozen=True, kw_only=True)
class Moving:
    """sources become `row`. ends: the end of the last source is in it, so that its outcome is the new one's too.

    instruction: of all its labels, where somebody gave one.
    """

    row: EpisodeRow
    sources: Sequence[EpisodeRow]
    pieces: Sequence[Piece]
    ends: bool = True
    instruction: str | None = None

    def segments(self, parts: Sequence[Sequence[LabelSegment]]) -> tuple[LabelSegment, ...]:
        """parts: of each source. Empty neighbours become one."""
        spans = [[(one.start, one.end) for one in part] for part in parts]
        found: list[LabelSegment] = []
        for one in placed(spans, self.pieces):
            segment = parts[one.source][one.index]._replace(start=one.start, end=one.end)
            if found and not segment.text and not found[-1].text:
                segment = segment._replace(start=found.pop().start)
            found.append(segment)
        return tuple(found)

    def document(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What people said of each source -> of the new one. Of the end the last says it; of the rest what all say."""
        first, last = parts[self.pieces[0].source], parts[self.pieces[-1].source]
        failures = [() if one["failure_step"] is None else (one["failure_step"],) for one in parts]
        same = all(one["paraphrases"] == first["paraphrases"] for one in parts)
        return {
            "segments": self.segments([one["segments"] for one in parts]),
            "instruction": self.instruction or first["instruction"],
            "success": last["success"] if self.ends else None,
            "failure_step": next(iter(placed_steps(failures, self.pieces)), None) if self.ends else None,
            "paraphrases": list(first["paraphrases"]) if same and self.instruction is None else [],
            "quality": first["quality"] if all(one["quality"] == first["quality"] for one in parts) else None,
            "tags": list(dict.fromkeys(tag for one in parts for tag in one["tags"])),
        }


def said(row: EpisodeRow) -> dict[str, Any]:
    """What the row itself says, as a document without substeps."""
    names = ("instruction", "success", "failure_step", "quality", "tags")
    return {**{name: getattr(row, name) for name in names}, "paraphrases": [], "segments": empty(row.steps)}


def settle_row(moving: Moving) -> None:
    """What people may change, in the new row, before it is stored."""
    document = moving.document([said(source) for source in moving.sources])
    for name in ("instruction", "success", "failure_step", "quality", "tags"):
        setattr(moving.row, name, document[name])
    states = {LabelState(source.label_state) for source in moving.sources}
    if states == {LabelState.PUBLISHED}:
        moving.row.label_state = LabelState.PUBLISHED
    else:
        moving.row.label_state = LabelState.UNLABELLED if states == {LabelState.UNLABELLED} else LabelState.DRAFT


def carry(db: Session, moving: Moving) -> dict[str, Any]:
    """Drafts of the first rater, what is published, and proposals, for a row that is stored. Blind labels of a second
    rater stay with the source. Returns the marks by which later work is noticed."""
    marks: dict[str, Any] = {}
    for tier in Tier:
        draft = _draft(db, moving, tier)
        if draft is not None:
            marks[tier.value], marks[f"{tier.value}_state"] = draft.edit, draft.state.value
        if _published(db, moving, tier, 0 if draft is None else draft.edit):
            marks[f"{tier.value}_revision"] = 1
    if len(moving.sources) == 1:
        _proposals(db, moving)
    db.flush()
    return marks


def _draft(db: Session, moving: Moving, tier: Tier) -> Draft | None:
    """The new draft, or None where no source has one."""
    found = {draft.episode_id: draft for draft in repository.drafts(db, [one.id for one in moving.sources], tier)}
    if not found:
        return None
    drafts = [found.get(source.id) for source in moving.sources]
    parts = [
        said(source) if draft is None else document_of(draft)
        for source, draft in zip(moving.sources, drafts, strict=True)
    ]
    there = [draft for draft in drafts if draft is not None]
    first = there[0]
    alike = len(there) == len(drafts) and all(draft.state is first.state for draft in there)
    state = first.state if alike else WorkState.UNASSIGNED
    made = Draft(
        episode_id=moving.row.id,
        tier=tier,
        rater=0,
        edit=max(draft.edit for draft in there),
        updated_at=utc_now(),
        updated_by=first.updated_by,
        state=state,
        assignee_id=first.assignee_id if alike and len(there) == 1 else None,
        assigned_at=first.assigned_at if alike and len(there) == 1 else None,
        contributors=list(dict.fromkeys(who for draft in there for who in draft.contributors)),
        submitted_by=first.submitted_by if alike else None,
        submitted_at=first.submitted_at if alike else None,
        **moving.document(parts),
    )
    db.add(made)
    return made


def _published(db: Session, moving: Moving, tier: Tier, edit: int) -> bool:
    """Where all sources are published, so is the new one, by who published the last of them."""
    revisions = [last_revision(db, source.id, tier) for source in moving.sources]
    there = [revision for revision in revisions if revision is not None]
    if not there or len(there) < len(revisions):
        return False
    newest = max(there, key=lambda revision: revision.created_at)
    document = moving.document([document_of(revision) for revision in there])
    db.add(
        LabelRevision(
            episode_id=moving.row.id,
            tier=tier,
            number=1,
            edit=newest.edit if len(there) == 1 else edit,
            published_by=newest.published_by,
            published_by_name=newest.published_by_name,
            restores=None,
            **document,
        )
    )
    grow_vocabulary(db, moving.row.dataset_id, tier, document["segments"])
    return True


def _proposals(db: Session, moving: Moving) -> None:
    for one in repository.proposals(db, moving.sources[0].id):
        spans = [[(part.start, part.end) for part in one.segments]]
        segments = tuple(
            ProposalSegment(at.start, at.end, one.segments[at.index].text, one.segments[at.index].confidence)
            for at in placed(spans, moving.pieces)
        )
        if not segments:
            continue
        db.add(
            Proposal(
                id=new_id(),
                episode_id=moving.row.id,
                source=one.source,
                segments=segments,
                settings=one.settings,
                report=one.report,
                asked_by=one.asked_by,
                asked_by_name=one.asked_by_name,
            )
        )
