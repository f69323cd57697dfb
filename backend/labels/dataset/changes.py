"""Bulk edits, each as one transaction that can be undone: renaming an entry, and what all share.

Nothing is changed silently: every draft goes through its history, and published labels get new revisions.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import database_now, utc_now
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.identity.actor import Actor
from backend.labels.core.renaming import renamed, renamed_guideline, renamed_texts, restored_texts
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import ChangeOut, ChangeResult, RenamedEpisode, RenameIn, RenamePreview, SkippedOut
from backend.labels.dataset.service import dataset_row, set_texts, texts_of
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.publication import Publication
from backend.labels.drafts.revisions import add_revision, document_of
from backend.labels.drafts.service import blank, keep
from backend.labels.sets import repository as sets
from backend.labels.sets.repository import Saying
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.bulk_change import BulkChange, ChangeKind
from backend.tables.dataset import Dataset
from backend.tables.document import DOCUMENT, Tier
from backend.tables.draft import LEASE_SECONDS, Draft, WorkState
from backend.tables.episode import LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import PUBLISHED
from backend.tables.label_writing import batches
from backend.tables.segment import LabelSegment

_AT_ONCE = 200  # episodes of a bulk edit in memory
HELD = "somebody is editing it; try again when they have finished"


# --- renaming -------------------------------------------------------------------------------------------------


def preview_rename(db: Session, dataset_id: str, body: RenameIn) -> RenamePreview:
    return _preview(db, dataset_row(db, dataset_id), body)


def _preview(db: Session, row: Dataset, body: RenameIn) -> RenamePreview:
    """From drafts of all raters, and newest revisions, that have the old text."""
    old, new = (sets.text_id(db, row.id, body.tier, text) for text in (body.old, body.new))
    drafts = [] if old is None else sets.saying(db, old, (0, 1))
    published = [] if old is None else sets.saying(db, old, (PUBLISHED,))
    held = _held(db, row.id, body.tier) if drafts else {}
    found: dict[str, RenamedEpisode] = {}
    for one in drafts:
        episode = found.setdefault(one.episode_id, _renamed(one))
        episode.draft += one.segments
        episode.held_by = held.get((one.episode_id, one.layer), episode.held_by)
    for one in published:
        found.setdefault(one.episode_id, _renamed(one)).published = one.segments
    episodes = sorted(found.values(), key=lambda one: one.number)
    in_use = new is not None and sets.in_use(db, new, 0)
    state = [(one.episode_id, one.layer, one.edit) for one in drafts] + [
        (one.episode_id, one.edit, -1) for one in published
    ]
    return RenamePreview(
        tier=body.tier,
        old=body.old,
        new=body.new,
        episodes=episodes,
        segments=sum(one.draft for one in episodes),
        merges=body.new in texts_of(row, body.tier) or in_use,
        in_template=body.old in Labelling.model_validate(row.labelling).template,
        fingerprint=hashlib.sha256(repr(sorted(state)).encode()).hexdigest()[:32],
    )


def _held(db: Session, dataset_id: str, tier: Tier) -> dict[tuple[str, int], str]:
    """Names of those who work on drafts right now, by episode and rater."""
    now = database_now(db).timestamp()
    holders = sets.held(db, dataset_id, tier, now, now + LEASE_SECONDS)
    names = draft_queries.names(db, {one.user_id for one in holders})
    return {(one.episode_id, one.rater): names.get(one.user_id or "", "somebody") for one in holders}


def _renamed(one: Saying) -> RenamedEpisode:
    return RenamedEpisode(episode_id=one.episode_id, number=one.number, draft=0, published=0, held_by=None)


def rename(db: Session, me: Actor, studio: Studio, dataset_id: str, body: RenameIn) -> ChangeResult:
    """Everywhere but where somebody works right now; those are skipped and named."""
    row = dataset_row(db, dataset_id, lock=True)
    repository.lock_episodes(db, dataset_id)
    preview = _preview(db, row, body)
    known = texts_of(row, body.tier)
    if not preview.episodes and body.old not in known and not preview.in_template:
        raise InvalidError(f"No label of this dataset says {body.old!r}.", fields={"old": "not in use"})
    if body.expected is not None and body.expected != preview.fingerprint:
        raise ConflictError(
            "Labels have changed since the preview. Preview the rename again.",
            detail=preview.model_dump(mode="json"),
        )
    held = {one.episode_id for one in preview.episodes if one.held_by is not None}
    free = [one.episode_id for one in preview.episodes if one.held_by is None]
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    for some in batches(free, _AT_ONCE):
        entries |= _rename_in(db, me, dataset_id, body, some)
        repository.forget(db)
    before = {"texts": known, "guideline": row.guideline.get(body.tier.value, {}), "labelling": row.labelling}
    _rename_entry(row, body)
    parameters = {
        "tier": body.tier.value,
        "old": body.old,
        "new": body.new,
        "before": before,
        "vocabulary_edit": row.vocabulary_edit,
    }
    change = store_change(db, me, studio, row, ChangeKind.RENAME, parameters, list(entries.values()))
    skipped = [
        SkippedOut(episode_id=one.episode_id, number=one.number, reason=HELD)
        for one in preview.episodes
        if one.episode_id in held
    ]
    episodes = {episode_id for episode_id, _ in entries}
    return ChangeResult(change=change, changed=len(episodes), skipped=skipped)


def _rename_in(
    db: Session, me: Actor, dataset_id: str, body: RenameIn, ids: Sequence[str]
) -> dict[tuple[str, int], dict[str, Any]]:
    """What undo needs, by episode and rater."""
    entries: dict[tuple[str, int], dict[str, Any]] = {}
    items = {(item.row.id, 0): item for item in repository.items(db, dataset_id, body.tier, ids=ids)}
    items |= {(item.row.id, 1): item for item in repository.items(db, dataset_id, body.tier, 1, ids=ids)}
    for place, item in items.items():
        if item.draft is not None and any(one.text == body.old for one in item.draft.segments):
            segments = renamed(item.draft.segments, body.old, body.new)
            entries[place] = change_draft(db, me, item, segments, HistoryKind.RENAMED)
    for episode_id, revision in draft_queries.newest_revisions(db, ids, body.tier).items():
        if any(one.text == body.old for one in revision.segments):
            item = items[episode_id, 0]
            document = {**document_of(revision), "segments": renamed(revision.segments, body.old, body.new)}
            newer = republish(db, me, item, revision, document)
            entry = entries.setdefault((episode_id, 0), entry_of(item, None))
            entry |= {"revision": newer.id, "revision_before": revision.id}
    return entries


def _rename_entry(row: Dataset, body: RenameIn) -> None:
    """In the vocabulary, its guideline and the template."""
    details = renamed_guideline(row.guideline.get(body.tier.value, {}), body.old, body.new)
    set_texts(row, body.tier, renamed_texts(texts_of(row, body.tier), body.old, body.new), details)
    template = row.labelling.get("template", [])
    if body.tier is Tier.SUBSTEP and body.old in template:
        row.labelling = {**row.labelling, "template": [body.new if text == body.old else text for text in template]}


# --- what all of them do --------------------------------------------------------------------------------------


def entry_of(item: Item, before: LabelHistory | None) -> dict[str, Any]:
    draft = item.draft
    return {
        "episode_id": item.row.id,
        "rater": draft.rater if draft else 0,
        "edit": draft.edit if draft else 0,
        "before": before.id if before else None,
        "revision": None,
        "revision_before": None,
    }


def change_draft(
    db: Session,
    me: Actor,
    item: Item,
    segments: tuple[LabelSegment, ...],
    kind: HistoryKind,
    *,
    tier: Tier = Tier.SUBSTEP,
    document: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Give a draft other segments, as one more edit of it; the history keeps what it was. Returns what undo needs."""
    draft = item.draft
    if draft is None:
        draft = blank(item.row, tier, 0)
        db.add(draft)
        db.flush()
    before = keep(db, item.row, draft, kind, by_id=me.id, by_name=me.name)
    draft.segments = segments
    for name, value in (document or {}).items():
        setattr(draft, name, value)
    draft.edit += 1
    draft.updated_at, draft.updated_by = datetime.fromtimestamp(item.now, UTC), me.id
    db.flush()
    return entry_of(Item(row=item.row, draft=draft, dataset=item.dataset, now=item.now), before)


def republish(
    db: Session,
    me: Actor,
    item: Item,
    revision: LabelRevision,
    document: dict[str, Any],
    *,
    restores: int | None = None,
) -> LabelRevision:
    """One more revision with this content; a draft that is ahead of what is published stays ahead."""
    state = item.row.label_state
    edit = item.draft.edit if item.draft is not None and state == LabelState.PUBLISHED else revision.edit
    publication = Publication(row=item.row, tier=revision.tier, edit=edit, document=document, restores=restores)
    newer = add_revision(db, me, publication)
    item.row.label_state = LabelState(state)
    return newer


def store_change(
    db: Session,
    me: Actor,
    studio: Studio,
    row: Dataset,
    kind: ChangeKind,
    parameters: dict[str, Any],
    entries: list[dict[str, Any]],
) -> ChangeOut:
    change = BulkChange(
        dataset_id=row.id, kind=kind, parameters=parameters, episodes=entries, by_id=me.id, by_name=me.name
    )
    db.add(change)
    said = {name: value for name, value in parameters.items() if name not in {"before", "vocabulary_edit"}}
    record(db, me, f"dataset.{kind.value}", row.id, episodes=len(entries), **said)
    db.flush()
    publish_after_commit(db, studio, "dataset", row.id)
    publish_after_commit(db, studio, "episode", row.id)
    return _out(change)


def changes(db: Session, dataset_id: str) -> list[ChangeOut]:
    """Newest first."""
    dataset_row(db, dataset_id)
    return [_out(change) for change in repository.changes(db, dataset_id)]


def _out(change: BulkChange) -> ChangeOut:
    said = {name: value for name, value in change.parameters.items() if name not in {"before", "vocabulary_edit"}}
    return ChangeOut(
        id=change.id,
        kind=change.kind,
        created_at=change.created_at,
        by_name=change.by_name,
        parameters=said,
        episodes=len({entry["episode_id"] for entry in change.episodes}),
        undone_at=change.undone_at,
        undone_by_name=change.undone_by_name,
    )


# --- undo -----------------------------------------------------------------------------------------------------


def undo(db: Session, me: Actor, studio: Studio, dataset_id: str, change_id: str) -> ChangeResult:
    """Back to what was before, as new edits and new revisions. What somebody changed since stays and is named."""
    row = dataset_row(db, dataset_id, lock=True)
    change = db.get(BulkChange, change_id)
    if change is None or change.dataset_id != dataset_id:
        raise NotFoundError("This dataset has no such change.")
    if change.undone_at is not None:
        raise ConflictError(f"{change.undone_by_name or 'Somebody'} has undone this already.")
    tier = Tier(change.parameters["tier"])
    repository.lock_episodes(db, dataset_id)
    if change.kind is ChangeKind.RENAME:  # first: a publication adds texts that the vocabulary does not have
        _restore_entry(row, change, tier)
    undone: set[str] = set()
    skipped: list[SkippedOut] = []
    for some in batches(change.episodes, _AT_ONCE):
        ids = [entry["episode_id"] for entry in some]
        items = {(item.row.id, 0): item for item in repository.items(db, dataset_id, tier, ids=ids)}
        items |= {(item.row.id, 1): item for item in repository.items(db, dataset_id, tier, 1, ids=ids)}
        published = draft_queries.newest_revisions(db, ids, tier)
        for entry in some:
            item = items.get((entry["episode_id"], entry["rater"]))
            if item is None:
                continue  # the episode was deleted
            reason = _undo_one(db, me, item, entry, published.get(item.row.id))
            if reason is None:
                undone.add(item.row.id)
            else:
                skipped.append(SkippedOut(episode_id=item.row.id, number=item.row.number, reason=reason))
        repository.forget(db)
    change.undone_at, change.undone_by_name = utc_now(), me.name
    record(db, me, "dataset.undo", dataset_id, change=change.id, kind=change.kind.value, episodes=len(undone))
    db.flush()
    publish_after_commit(db, studio, "dataset", dataset_id)
    publish_after_commit(db, studio, "episode", dataset_id)
    return ChangeResult(change=_out(change), changed=len(undone), skipped=skipped)


def changed_since(item: Item, entry: dict[str, Any], last: LabelRevision | None) -> str | None:
    """Why what a change made of this episode cannot be taken back, or None. last: the episode's newest revision."""
    draft: Draft | None = item.draft
    if item.held:
        return "somebody is editing it"
    if entry["before"] is not None and (draft is None or draft.edit != entry["edit"]):
        return "it was edited since"
    if entry["revision"] is not None and (last is None or last.id != entry["revision"]):
        return "it was published again since"
    if entry["revision"] is None and "row" in entry and last is not None:
        return "it was published since"
    return None


def _undo_one(db: Session, me: Actor, item: Item, entry: dict[str, Any], last: LabelRevision | None) -> str | None:
    """Why it cannot be undone, or None."""
    reason = changed_since(item, entry, last)
    if reason is not None:
        return reason
    if entry["before"] is not None:
        before = db.get(LabelHistory, entry["before"])
        assert before is not None
        document = {name: getattr(before, name) for name in DOCUMENT}
        change_draft(db, me, item, document.pop("segments"), HistoryKind.UNDONE, document=document)
    if entry["revision"] is not None and entry["revision_before"] is None:
        _withdraw(db, item, last)
    elif entry["revision"] is not None:
        assert last is not None
        older = db.get(LabelRevision, entry["revision_before"])
        assert older is not None
        republish(db, me, item, last, document_of(older), restores=older.number)
    for name, value in entry.get("row", {}).items():
        setattr(item.row, name, value)
    return None


def _withdraw(db: Session, item: Item, first: LabelRevision | None) -> None:
    """What nothing was published before goes as a whole: the history keeps the labels, versions have their own."""
    assert first is not None
    assert item.draft is not None
    db.delete(first)
    item.row.label_state = LabelState.UNLABELLED
    draft = item.draft
    draft.state, draft.submitted_by, draft.submitted_at, draft.updated_by = WorkState.UNASSIGNED, None, None, None


def _restore_entry(row: Dataset, change: BulkChange, tier: Tier) -> None:
    """The vocabulary as it was, or, if somebody changed it since, with the old text put back in."""
    before, old, new = change.parameters["before"], change.parameters["old"], change.parameters["new"]
    if row.vocabulary_edit == change.parameters["vocabulary_edit"]:
        set_texts(row, tier, before["texts"], before["guideline"])
    else:
        texts = restored_texts(texts_of(row, tier), before["texts"], old, new)
        set_texts(row, tier, texts, {**row.guideline.get(tier.value, {}), **before["guideline"]})
    template = before["labelling"].get("template", [])
    if (
        tier is Tier.SUBSTEP
        and old in template
        and row.labelling.get("template") == [new if text == old else text for text in template]
    ):
        row.labelling = {**row.labelling, "template": template}
