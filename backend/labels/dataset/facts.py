"""Instruction and outcome of many episodes at once: new revisions where labels are published, and one undo for all."""

from typing import Any

from sqlalchemy.orm import Session

from backend.core.errors import InvalidError
from backend.identity.actor import Actor
from backend.labels.dataset import repository
from backend.labels.dataset.changes import HELD, change_draft, entry_of, republish, store_change
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import ChangeResult, FactsIn, SkippedOut
from backend.labels.dataset.service import dataset_row
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.revisions import document_of
from backend.studio.context import Studio
from backend.tables.bulk_change import ChangeKind
from backend.tables.document import Tier
from backend.tables.label_history import HistoryKind
from backend.tables.label_revision import LabelRevision

_OUTCOMES = {"success": True, "failure": False, "unknown": None}


def set_facts(db: Session, me: Actor, studio: Studio, dataset_id: str, body: FactsIn) -> ChangeResult:
    """Raises InvalidError for episodes that are not there. Those that somebody labels right now are left and named."""
    row = dataset_row(db, dataset_id, lock=not body.preview)
    wanted: dict[str, Any] = {}
    if body.instruction is not None:
        wanted["instruction"] = body.instruction
    if body.outcome is not None:
        wanted["success"] = _OUTCOMES[body.outcome]
    items = repository.items(db, dataset_id, Tier.SUBSTEP, ids=body.episode_ids, lock=not body.preview)
    if body.episode_ids is not None and len(items) < len(set(body.episode_ids)):
        raise InvalidError("Some of the chosen episodes are not in this dataset (any more); look at the list again.")
    published = draft_queries.newest_revisions(db, [item.row.id for item in items], Tier.SUBSTEP)
    changing = [item for item in items if _differs(item, published.get(item.row.id), wanted)]
    held = [item for item in changing if item.held]
    skipped = [SkippedOut(episode_id=item.row.id, number=item.row.number, reason=HELD) for item in held]
    going = [item for item in changing if not item.held]
    if body.preview or not going:
        return ChangeResult(change=None, changed=len(going), skipped=skipped)
    entries = [_change(db, me, item, published.get(item.row.id), wanted) for item in going]
    said = {**wanted, "tier": Tier.SUBSTEP.value}
    change = store_change(db, me, studio, row, ChangeKind.FACTS, said, entries)
    return ChangeResult(change=change, changed=len(going), skipped=skipped)


def _differs(item: Item, revision: LabelRevision | None, wanted: dict[str, Any]) -> bool:
    there = [one for one in (item.row, item.draft, revision) if one is not None]
    return any(getattr(one, name) != value for one in there for name, value in wanted.items())


def _change(
    db: Session, me: Actor, item: Item, revision: LabelRevision | None, wanted: dict[str, Any]
) -> dict[str, Any]:
    """What undo needs."""
    before = {name: getattr(item.row, name) for name in wanted}
    if item.draft is None:
        entry = entry_of(item, None)
    else:
        entry = change_draft(db, me, item, item.draft.segments, HistoryKind.FACTS, document=dict(wanted))
    if revision is None:  # nothing is published: the row says what a version without labels takes
        for name, value in wanted.items():
            setattr(item.row, name, value)
        return {**entry, "row": before}
    newer = republish(db, me, item, revision, {**document_of(revision), **wanted})
    return {**entry, "revision": newer.id, "revision_before": revision.id}
