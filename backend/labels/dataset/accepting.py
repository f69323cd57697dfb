"""Labels that files brought, published for a whole dataset by somebody who looked at some of them.

They stay what they are: revisions of provenance "imported" (or of whoever the file says made them), published by the
person who accepted them. What somebody works on, or has changed, is left to them.
"""

import hashlib
from collections.abc import Collection
from typing import Any

from sqlalchemy.orm import Session

from backend.core.errors import ConflictError, InvalidError
from backend.identity.actor import Actor
from backend.labels.core.segments import SegmentOut
from backend.labels.dataset import repository
from backend.labels.dataset.accepting_schemas import (
    AcceptImportedIn,
    ImportedEpisodeOut,
    ImportedLabelsOut,
    TextCountOut,
)
from backend.labels.dataset.changes import change_draft, store_change
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import ChangeResult, SkippedOut
from backend.labels.dataset.service import dataset_row
from backend.labels.drafts.publication import Publication
from backend.labels.drafts.repository import blind_for
from backend.labels.drafts.revisions import add_revision, document_of
from backend.studio.context import Studio
from backend.tables.bulk_change import ChangeKind
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeSource, LabelState
from backend.tables.label_history import HistoryKind

LOOKED_AT = 5  # episodes that somebody opened before all are accepted, or all where there are fewer
MOST = 2000  # episodes in one transaction: the saves of those who label wait for it
_SAMPLE = 24
_TEXTS = 100


def imported(db: Session, me: Actor, dataset_id: str) -> ImportedLabelsOut:
    """How many episodes have labels that their files brought and nobody touched, and a sample spread over them."""
    dataset_row(db, dataset_id)
    fitting, skipped = _fitting(db, me, dataset_id)
    sample = fitting[:: -(-len(fitting) // _SAMPLE)] if fitting else []
    counts: dict[str, int] = {}
    for item in fitting:
        assert item.draft is not None
        for segment in item.draft.segments:
            counts[segment.text] = counts.get(segment.text, 0) + 1
    usual = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ImportedLabelsOut(
        episodes=len(fitting),
        to_look_at=min(LOOKED_AT, len(fitting)),
        fingerprint=_fingerprint(fitting),
        sample=[_shown(item) for item in sample],
        texts=[TextCountOut(text=text, segments=count) for text, count in usual[:_TEXTS]],
        skipped=skipped,
    )


def accept(db: Session, me: Actor, studio: Studio, dataset_id: str, body: AcceptImportedIn) -> ChangeResult:
    """Publish them all. Raises InvalidError if too few were looked at, ConflictError if they are others by now."""
    row = dataset_row(db, dataset_id, lock=True)
    fitting, skipped = _fitting(db, me, dataset_id, lock=True)
    if not fitting:
        raise InvalidError("No episode of this dataset has imported labels that wait to be accepted.")
    if body.fingerprint != _fingerprint(fitting):
        raise ConflictError("Labels or episodes have changed since you looked. Look at the list again.")
    known = {item.row.id: item.row.number for item in fitting}
    seen = [episode_id for episode_id in dict.fromkeys(body.looked_at) if episode_id in known]
    needed = min(LOOKED_AT, len(fitting))
    if len(seen) < needed:
        raise InvalidError(
            f"You have looked at {len(seen)} of these {len(fitting)} episodes; look at {needed} before you accept the "
            "labels of all.",
            fields={"looked_at": f"at least {needed} of them"},
        )
    late = [_skipped(item, f"{MOST} are accepted at a time; accept again") for item in fitting[MOST:]]
    entries = [_accept(db, me, item, looked_at=item.row.id in seen) for item in fitting[:MOST]]
    parameters = {"tier": Tier.SUBSTEP.value, "looked_at": sorted(known[episode_id] for episode_id in seen)}
    change = store_change(db, me, studio, row, ChangeKind.ACCEPT, parameters, entries)
    return ChangeResult(change=change, changed=len(entries), skipped=skipped + late)


def _accept(db: Session, me: Actor, item: Item, *, looked_at: bool) -> dict[str, Any]:
    assert item.draft is not None
    entry = change_draft(db, me, item, item.draft.segments, HistoryKind.IMPORTED)
    draft = db.get_one(Draft, (item.row.id, Tier.SUBSTEP, 0))
    draft.state, draft.submitted_by, draft.submitted_at = WorkState.SUBMITTED, me.id, draft.updated_at
    publication = Publication(
        row=item.row,
        tier=Tier.SUBSTEP,
        edit=draft.edit,
        document=document_of(draft),
        looked_at=len(draft.segments) if looked_at else 0,
    )
    return entry | {"revision": add_revision(db, me, publication).id}


def _fitting(db: Session, me: Actor, dataset_id: str, *, lock: bool = False) -> tuple[list[Item], list[SkippedOut]]:
    """Episodes whose file brought labels that wait, and those of them that cannot be accepted, with the reason."""
    hidden = {episode_id for episode_id, tier in blind_for(db, dataset_id, me.id) if tier is Tier.SUBSTEP}
    fitting: list[Item] = []
    skipped: list[SkippedOut] = []
    for item in repository.items(db, dataset_id, Tier.SUBSTEP, lock=lock):
        if not _brought(item):
            continue
        if reason := _why_not(item, hidden):
            skipped.append(_skipped(item, reason))
        else:
            fitting.append(item)
    return fitting, skipped


def _brought(item: Item) -> bool:
    """Whether its draft is still what its file brought."""
    draft = item.draft
    return (
        draft is not None
        and item.row.source in (EpisodeSource.IMPORTED, EpisodeSource.UPLOADED)
        and item.row.label_state == LabelState.UNLABELLED
        and draft.updated_by is None
        and any(segment.text for segment in draft.segments)
    )


def _why_not(item: Item, hidden: Collection[str]) -> str | None:
    draft = item.draft
    assert draft is not None
    if item.row.id in hidden:
        return "you label it blind, as its second rater"
    if item.held:
        return "somebody is editing it"
    if draft.state is not WorkState.UNASSIGNED or draft.assignee_id is not None:
        return "somebody is to label it"
    empty = sum(segment.end - segment.start for segment in draft.segments if not segment.text)
    if empty:
        return f"{empty} of its {item.row.steps} steps have no label"
    return None


def _fingerprint(items: Collection[Item]) -> str:
    state = [(item.row.id, item.draft.edit if item.draft else 0) for item in items]
    return hashlib.sha256(repr(sorted(state)).encode()).hexdigest()[:32]


def _shown(item: Item) -> ImportedEpisodeOut:
    assert item.draft is not None
    return ImportedEpisodeOut(
        episode_id=item.row.id,
        number=item.row.number,
        steps=item.row.steps,
        instruction=item.row.instruction,
        cameras=[str(camera["name"]) for camera in item.row.cameras],
        segments=[SegmentOut.model_validate(segment) for segment in item.draft.segments],
    )


def _skipped(item: Item, reason: str) -> SkippedOut:
    return SkippedOut(episode_id=item.row.id, number=item.row.number, reason=reason)
