"""Labels that files brought, published for a whole dataset by somebody who looked at some of them.

They stay what they are: revisions of provenance "imported" (or of whoever the file says made them), published by the
person who accepted them. What somebody works on, or has changed, is left to them.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy.orm import Session

from backend.core.db import database_now
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
from backend.labels.sets import repository as sets
from backend.labels.sets.repository import Brought
from backend.studio.context import Studio
from backend.tables.bulk_change import ChangeKind
from backend.tables.document import Tier
from backend.tables.draft import LEASE_SECONDS, Draft, WorkState
from backend.tables.label_history import HistoryKind
from backend.tables.label_writing import batches

LOOKED_AT = 5  # episodes that somebody opened before all are accepted, or all where there are fewer
MOST = 2000  # episodes in one transaction: the saves of those who label wait for it
_AT_ONCE = 200  # of them in memory
_SAMPLE = 24
_TEXTS = 100


def imported(db: Session, me: Actor, dataset_id: str) -> ImportedLabelsOut:
    """How many episodes have labels that their files brought and nobody touched, and a sample spread over them."""
    dataset_row(db, dataset_id)
    fitting, skipped = _fitting(db, me, dataset_id)
    sample = fitting[:: -(-len(fitting) // _SAMPLE)] if fitting else []
    items = repository.items(db, dataset_id, Tier.SUBSTEP, ids=[one.episode_id for one in sample])
    usual = sorted(_counts(db, dataset_id, fitting).items(), key=lambda one: (-one[1], one[0]))
    return ImportedLabelsOut(
        episodes=len(fitting),
        to_look_at=min(LOOKED_AT, len(fitting)),
        fingerprint=_fingerprint(fitting),
        sample=[_shown(item) for item in items],
        texts=[TextCountOut(text=text, segments=count) for text, count in usual[:_TEXTS]],
        skipped=skipped,
    )


def _counts(db: Session, dataset_id: str, fitting: Sequence[Brought]) -> dict[str, int]:
    """Segments of each text."""
    counts: Counter[int] = Counter()
    for some in batches(fitting):
        for tally in sets.tallies_of(db, [one.id for one in some]):
            counts[tally.text_id] += tally.segments
    texts = sets.texts(db, dataset_id, Tier.SUBSTEP)
    return {texts[id]: count for id, count in counts.items()}


def accept(db: Session, me: Actor, studio: Studio, dataset_id: str, body: AcceptImportedIn) -> ChangeResult:
    """Publish them all. Raises InvalidError if too few were looked at, ConflictError if they are others by now."""
    row = dataset_row(db, dataset_id, lock=True)
    repository.lock_episodes(db, dataset_id)
    fitting, skipped = _fitting(db, me, dataset_id)
    if not fitting:
        raise InvalidError("No episode of this dataset has imported labels that wait to be accepted.")
    if body.fingerprint != _fingerprint(fitting):
        raise ConflictError("Labels or episodes have changed since you looked. Look at the list again.")
    known = {one.episode_id: one.number for one in fitting}
    seen = [episode_id for episode_id in dict.fromkeys(body.looked_at) if episode_id in known]
    needed = min(LOOKED_AT, len(fitting))
    if len(seen) < needed:
        raise InvalidError(
            f"You have looked at {len(seen)} of these {len(fitting)} episodes; look at {needed} before you accept the "
            "labels of all.",
            fields={"looked_at": f"at least {needed} of them"},
        )
    late = [_skipped(one, f"{MOST} are accepted at a time; accept again") for one in fitting[MOST:]]
    entries: list[dict[str, Any]] = []
    for some in batches(fitting[:MOST], _AT_ONCE):
        items = repository.items(db, dataset_id, Tier.SUBSTEP, ids=[one.episode_id for one in some])
        entries += [_accept(db, me, item, looked_at=item.row.id in seen) for item in items]
        repository.forget(db)
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


def _fitting(db: Session, me: Actor, dataset_id: str) -> tuple[list[Brought], list[SkippedOut]]:
    """Episodes whose file brought labels that wait, and those of them that cannot be accepted, with the reason."""
    hidden = {episode_id for episode_id, tier in blind_for(db, dataset_id, me.id) if tier is Tier.SUBSTEP}
    now = database_now(db).timestamp()
    holders = sets.held(db, dataset_id, Tier.SUBSTEP, now, now + LEASE_SECONDS)
    held = {one.episode_id for one in holders if one.rater == 0}
    fitting: list[Brought] = []
    skipped: list[SkippedOut] = []
    for one in sets.brought(db, dataset_id):
        if reason := _why_not(one, hidden, held):
            skipped.append(_skipped(one, reason))
        else:
            fitting.append(one)
    return fitting, skipped


def _why_not(one: Brought, hidden: Collection[str], held: Collection[str]) -> str | None:
    if one.episode_id in hidden:
        return "you label it blind, as its second rater"
    if one.episode_id in held:
        return "somebody is editing it"
    if one.state is not WorkState.UNASSIGNED or one.assignee_id is not None:
        return "somebody is to label it"
    if one.misfit:
        return f"its labels end before or after its {one.steps} steps"
    if one.labelled_steps != one.steps:
        return f"{one.steps - one.labelled_steps} of its {one.steps} steps have no label"
    return None


def _fingerprint(fitting: Collection[Brought]) -> str:
    state = sorted((one.episode_id, one.edit) for one in fitting)
    return hashlib.sha256(repr(state).encode()).hexdigest()[:32]


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


def _skipped(one: Brought, reason: str) -> SkippedOut:
    return SkippedOut(episode_id=one.episode_id, number=one.number, reason=reason)
