"""Revisions: publishing a draft, going back to an older one, and what changed between any two states."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import NO_KEY, utc_now
from backend.core.errors import InvalidError, NotFoundError, WrongStateError
from backend.episodes.files import refuse_changed
from backend.identity.actor import Actor
from backend.labels.core.checks import refuse_incomplete
from backend.labels.core.differences import differences
from backend.labels.core.looked import not_looked_at, refuse_not_looked_at
from backend.labels.core.settings import MAX_ENTRIES, Labelling
from backend.labels.drafts import repository
from backend.labels.drafts.publication import Publication
from backend.labels.drafts.repository import DraftContext
from backend.labels.drafts.schemas import (
    DiffOut,
    DraftOut,
    HistoryEntryOut,
    HistoryOut,
    PublishIn,
    RevisionOut,
    RollbackIn,
)
from backend.labels.drafts.service import (
    blank,
    both_sides,
    draft_out,
    keep,
    refuse_leased,
    refuse_stale,
    revision_out,
    stored_draft,
    visible,
)
from backend.labels.drafts.work import mark_submitted
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.document import DOCUMENT, Tier
from backend.tables.draft import SUBMITTED_STATES, WorkState
from backend.tables.episode import LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment

# --- publishing -----------------------------------------------------------------------------------------------


def publish(db: Session, me: Actor, studio: Studio, episode_id: str, body: PublishIn) -> DraftOut:
    """Make the draft a revision. The same labels again change nothing. The episode's file stays as it is; where it is
    gone or holds another episode, NotFoundError or EpisodeError say so before anybody trusts the labels."""
    publication = _publishable(db, me, episode_id, body)
    row, tier = publication.row, publication.tier
    here = visible(db, me, row.id, tier, 0)
    if publication.unchanged:  # only the state is set right
        if tier is Tier.SUBSTEP and row.label_state != LabelState.PUBLISHED:
            row.label_state = LabelState.PUBLISHED
            publish_after_commit(db, studio, "episode", row.id)
        db.flush()
        return draft_out(db, me, here)
    refuse_changed(studio, row)
    add_revision(db, me, publication)
    draft = stored_draft(db, here)
    if draft.state not in SUBMITTED_STATES:
        mark_submitted(db, me, here, draft)
    keep(db, row, draft, HistoryKind.PUBLISHED, by_id=me.id, by_name=me.name, about_id=draft.submitted_by)
    publish_after_commit(db, studio, "episode", row.id)
    publish_after_commit(db, studio, "dataset", row.dataset_id)
    db.flush()
    return draft_out(db, me, visible(db, me, row.id, tier, 0))


def _publishable(db: Session, me: Actor, episode_id: str, body: PublishIn) -> Publication:
    """What is to be published. Raises ConflictError if the draft is another than `body` names, InvalidError for
    segments without text, NotLookedAtError for a script's or a file's unless `body` says that somebody looked (or
    somebody else approved them), WrongStateError if somebody else has to approve it first."""
    repository.lock_dataset(db, episode_id)
    here = visible(db, me, episode_id, body.tier, 0, lock=True)
    refuse_stale(db, me, here, body.edit)
    publication = _publication(db, here, body.edit)
    reviewed = here.draft is not None and here.draft.state is WorkState.APPROVED
    if Labelling.model_validate(here.labelling).review and not reviewed and not publication.unchanged:
        raise WrongStateError(
            "In this dataset somebody else approves labels before they are published. Submit them for review.",
            detail=both_sides(db, me, here, None),
        )
    if not reviewed and not publication.unchanged:
        unseen = _unseen(db, publication)
        if not body.looked_at:
            refuse_not_looked_at(unseen, len(publication.segments))
        return dataclasses.replace(publication, looked_at=len(unseen))
    return publication


def _unseen(db: Session, publication: Publication) -> list[LabelSegment]:
    last = repository.last_revision(db, publication.row.id, publication.tier)
    return not_looked_at(publication.segments, last.segments if last else ())


def _publication(db: Session, here: DraftContext, edit: int) -> Publication:
    publication = Publication(row=here.row, tier=here.tier, edit=edit, document=draft_document(here))
    refuse_incomplete(publication.segments, here.row.steps)
    last = repository.last_revision(db, here.row.id, here.tier)
    if last is not None and document_of(last) == publication.document:
        return dataclasses.replace(publication, unchanged=True)
    return publication


def draft_document(here: DraftContext) -> dict[str, Any]:
    """The draft's, made up where nobody has touched it."""
    return document_of(here.draft or blank(here.row, here.tier, here.rater))


def document_of(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in DOCUMENT}


def add_revision(db: Session, me: Actor, publication: Publication) -> LabelRevision:
    """The revision, and what the episode's row and the vocabulary say because of it."""
    row = publication.row
    last = repository.last_revision(db, row.id, publication.tier)
    revision = LabelRevision(
        episode_id=row.id,
        tier=publication.tier,
        number=1 if last is None else last.number + 1,
        edit=publication.edit,
        published_by=me.id,
        published_by_name=me.name,
        restores=publication.restores,
        **publication.document,
    )
    db.add(revision)
    if publication.tier is Tier.SUBSTEP:
        for name in ("instruction", "success", "failure_step", "quality", "tags"):
            setattr(row, name, publication.document[name])
        row.label_state = LabelState.PUBLISHED
    grow_vocabulary(db, row.dataset_id, publication.tier, publication.segments)
    record(
        db,
        me,
        "episode.publish",
        row.id,
        revision=revision.number,
        segments=len(publication.segments),
        tier=publication.tier.value,
        restores=publication.restores,
        looked_at=publication.looked_at,
    )
    db.flush()
    return revision


def grow_vocabulary(db: Session, dataset_id: str, tier: Tier, segments: Sequence[LabelSegment]) -> None:
    """New texts go to the end, in the order of first use."""
    dataset = db.get(Dataset, dataset_id, with_for_update=NO_KEY)
    assert dataset is not None
    name = "vocabulary" if tier is Tier.SUBSTEP else "plan_vocabulary"
    known: list[Any] = list(getattr(dataset, name))
    for segment in segments:
        if segment.text not in known and len(known) < MAX_ENTRIES:
            known.append(segment.text)
    if known != getattr(dataset, name):
        setattr(dataset, name, known)
        dataset.vocabulary_edit += 1


def roll_back(db: Session, me: Actor, studio: Studio, episode_id: str, body: RollbackIn) -> DraftOut:
    """Publish an older revision's labels again, as a new revision; the draft becomes them too (its history keeps what
    it was)."""
    revision = db.get(LabelRevision, body.revision_id)
    if revision is None or revision.episode_id != episode_id:
        raise NotFoundError("This episode has no such revision.")
    repository.lock_dataset(db, episode_id)
    here = visible(db, me, episode_id, revision.tier, 0, lock=True)
    refuse_leased(db, me, here, token=None)
    refuse_stale(db, me, here, body.edit)
    last = repository.last_revision(db, episode_id, revision.tier)
    if last is not None and last.id == revision.id:
        raise InvalidError(f"Revision {revision.number} is the newest already; there is nothing to go back from.")
    row, document = here.row, document_of(revision)
    refuse_changed(studio, row)
    draft = stored_draft(db, here)
    keep(db, row, draft, HistoryKind.ROLLED_BACK, by_id=me.id, by_name=me.name)
    for name, value in document.items():
        setattr(draft, name, value)
    draft.edit, draft.updated_at, draft.updated_by = body.edit + 1, here.moment, me.id
    draft.state, draft.contributors = WorkState.SUBMITTED, [me.id]
    draft.submitted_by, draft.submitted_at = me.id, utc_now()
    publication = Publication(row=row, tier=revision.tier, edit=draft.edit, document=document, restores=revision.number)
    add_revision(db, me, publication)
    publish_after_commit(db, studio, "episode", row.id)
    publish_after_commit(db, studio, "dataset", row.dataset_id)
    db.flush()
    return draft_out(db, me, visible(db, me, row.id, revision.tier, 0))


# --- history --------------------------------------------------------------------------------------------------


def revisions(db: Session, me: Actor, episode_id: str, tier: Tier) -> list[RevisionOut]:
    """Newest first."""
    visible(db, me, episode_id, tier, 0)
    return [revision_out(revision) for revision in repository.revisions(db, episode_id, tier)]


def history(db: Session, me: Actor, episode_id: str, tier: Tier, rater: int) -> list[HistoryOut]:
    """Newest first, without the labels."""
    visible(db, me, episode_id, tier, rater)
    return [HistoryOut.model_validate(facts) for facts in _facts(db, repository.history(db, episode_id, tier, rater))]


def _facts(db: Session, entries: Sequence[LabelHistory]) -> list[dict[str, Any]]:
    names = repository.names(db, {entry.about_id for entry in entries})
    own = {*HistoryEntryOut.model_fields} - {"about_name"}
    return [
        {**{name: getattr(entry, name) for name in own}, "about_name": names.get(entry.about_id or "")}
        for entry in entries
    ]


def history_entry(db: Session, me: Actor, episode_id: str, entry_id: str) -> HistoryEntryOut:
    entry = db.get(LabelHistory, entry_id)
    if entry is None or entry.episode_id != episode_id:
        raise NotFoundError("This episode's history has no such entry.")
    visible(db, me, episode_id, entry.tier, entry.rater)
    return HistoryEntryOut.model_validate(_facts(db, [entry])[0])


def diff(db: Session, me: Actor, episode_id: str, tier: Tier, rater: int, left: str, right: str) -> DiffOut:
    """left, right: ids of revisions or history entries, or "draft"."""
    here = visible(db, me, episode_id, tier, rater)
    one, other = _state(db, me, here, left), _state(db, me, here, right)
    found = differences(one["segments"], other["segments"])
    fields = {name: (one[name], other[name]) for name in DOCUMENT if name != "segments" and one[name] != other[name]}
    differing = sum(difference.end - difference.start for difference in found)
    return DiffOut(
        left=left,
        right=right,
        steps=here.row.steps,
        differences=found,
        agreement=1 - differing / here.row.steps,
        fields=fields,
        left_segments=one["segments"],
        right_segments=other["segments"],
    )


def _state(db: Session, me: Actor, here: DraftContext, name: str) -> dict[str, Any]:
    if name == "draft":
        return draft_document(here)
    row = db.get(LabelRevision, name) or db.get(LabelHistory, name)
    if row is None or row.episode_id != here.row.id:
        raise NotFoundError(f"This episode has no revision and no history entry {name!r}.")
    visible(db, me, row.episode_id, row.tier, getattr(row, "rater", 0))
    return document_of(row)
