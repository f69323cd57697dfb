"""Drafts that people edit, and what publishing makes of them."""

import dataclasses
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access import Actor
from backend.annotations import repository
from backend.annotations.models import Draft, LabelRevision
from backend.annotations.proposals import empty
from backend.annotations.publication import Publication, labelled_file, put_in_place
from backend.annotations.schemas import DraftIn, DraftOut, PublishIn, RevisionOut, SegmentOut
from backend.audit.service import record
from backend.auth.models import User
from backend.context import Studio
from backend.datasets.models import Dataset
from backend.db import utc_now
from backend.episodes.models import EpisodeRow, LabelState
from backend.errors import ConflictError, InvalidError, NotFoundError
from backend.events import publish_after_commit

_VOCABULARY_MAX = 200


def draft(db: Session, studio: Studio, episode_id: str) -> DraftOut:
    row = _episode(db, episode_id)
    return _out(db, row, db.get(Draft, episode_id))


def save(db: Session, me: Actor, studio: Studio, episode_id: str, body: DraftIn) -> DraftOut:
    """Store the draft if nobody saved since `body.edit`; otherwise ConflictError with what stands there."""
    row = _episode(db, episode_id, lock=True)
    _fits(row, body)
    stored = repository.draft(db, episode_id, lock=True)
    if (stored.edit if stored else 0) != body.edit:
        _conflict(db, row, stored)
    segments = [segment.model_dump(mode="json") for segment in body.segments]
    if stored is None:
        stored = Draft(episode_id=episode_id)
        db.add(stored)
    elif (stored.segments, stored.instruction, stored.success) == (segments, body.instruction, body.success):
        return _out(db, row, stored)
    stored.edit = body.edit + 1
    stored.segments, stored.instruction, stored.success = segments, body.instruction, body.success
    stored.updated_at, stored.updated_by = utc_now(), me.id
    row.label_state = LabelState.DRAFT
    db.flush()
    publish_after_commit(db, studio, "episode", episode_id)
    return _out(db, row, stored)


def publish(studio: Studio, me: Actor, episode_id: str, body: PublishIn) -> DraftOut:
    """Make the draft a revision and write it into the episode's file. The same labels again change nothing.

    The file is written before the transaction that puts it in its place, so that nobody waits for a large copy: who
    saved or published meanwhile wins, and this publication is refused with ConflictError.
    """
    with studio.db.transaction(write=False) as db:
        wanted = _publishable(db, episode_id, body)
    if wanted.unchanged:
        with studio.db.transaction() as db:
            return _confirm(db, studio, episode_id, body)
    with labelled_file(studio, wanted) as file, studio.db.transaction() as db:
        now = _publishable(db, episode_id, body, lock=True)
        if now.unchanged:  # another page published the same
            return _confirm(db, studio, episode_id, body)
        return _publish(db, me, studio, now, file)


def _publish(db: Session, me: Actor, studio: Studio, wanted: Publication, file: Path) -> DraftOut:
    row = wanted.row
    last = repository.last_revision(db, row.id)
    revision = LabelRevision(
        episode_id=row.id,
        number=1 if last is None else last.number + 1,
        edit=wanted.edit,
        segments=wanted.plain,
        instruction=wanted.instruction,
        success=wanted.success,
        published_by=me.id,
        published_by_name=me.name,
    )
    db.add(revision)
    row.instruction, row.success, row.label_state = wanted.instruction, wanted.success, LabelState.PUBLISHED
    row.size_bytes = file.stat().st_size
    _grow_vocabulary(db, row.dataset_id, wanted.segments)
    record(db, me, "episode.publish", row.id, revision=revision.number, segments=len(wanted.segments))
    publish_after_commit(db, studio, "episode", row.id)
    publish_after_commit(db, studio, "dataset", row.dataset_id)
    db.flush()
    put_in_place(studio, row, file)
    return _out(db, row, repository.draft(db, row.id))


def _publishable(db: Session, episode_id: str, body: PublishIn, *, lock: bool = False) -> Publication:
    """What is to be published. Raises ConflictError if the draft is another than `body` names, InvalidError for
    segments without text."""
    row = _episode(db, episode_id, lock=lock)
    stored = repository.draft(db, episode_id, lock=lock)
    if (stored.edit if stored else 0) != body.edit:
        _conflict(db, row, stored)
    segments = _segments(row, stored)
    _complete(segments)
    instruction, success = (row.instruction, row.success) if stored is None else (stored.instruction, stored.success)
    wanted = Publication(row=row, edit=body.edit, segments=segments, instruction=instruction, success=success)
    last = repository.last_revision(db, episode_id)
    if last is not None and (last.segments, last.instruction, last.success) == (wanted.plain, instruction, success):
        return dataclasses.replace(wanted, unchanged=True)
    return wanted


def _confirm(db: Session, studio: Studio, episode_id: str, body: PublishIn) -> DraftOut:
    """The draft says what the newest revision says: that one stays the newest."""
    wanted = _publishable(db, episode_id, body, lock=True)
    if wanted.unchanged and wanted.row.label_state is not LabelState.PUBLISHED:
        wanted.row.label_state = LabelState.PUBLISHED
        db.flush()
        publish_after_commit(db, studio, "episode", episode_id)
    return _out(db, wanted.row, repository.draft(db, episode_id))


def revisions(db: Session, episode_id: str) -> list[RevisionOut]:
    """Newest first."""
    _episode(db, episode_id)
    return [_revision_out(revision) for revision in repository.revisions(db, episode_id)]


# --- checks ---------------------------------------------------------------------------------------------------


def _fits(row: EpisodeRow, body: DraftIn) -> None:
    end = body.segments[-1].end
    if end != row.steps:
        raise InvalidError(f"The substeps end at step {end}, the episode has {row.steps}. Reload the page.")


def _complete(segments: list[SegmentOut]) -> None:
    blank = [segment for segment in segments if not segment.text.strip()]
    if blank:
        places = ", ".join(f"steps {segment.start} to {segment.end - 1}" for segment in blank[:5])
        more = f" and {len(blank) - 5} more" if len(blank) > 5 else ""
        raise InvalidError(
            f"{len(blank)} of {len(segments)} substeps have no text: {places}{more}. Label them, or merge them with "
            "a neighbour.",
            detail={"blank": [[segment.start, segment.end] for segment in blank]},
        )


def _conflict(db: Session, row: EpisodeRow, stored: Draft | None) -> None:
    now = _out(db, row, stored)
    who = now.updated_by_name or "Somebody"
    raise ConflictError(
        f"{who} saved these labels meanwhile. Nothing of yours is lost: take theirs, or put yours over them.",
        detail=now.model_dump(mode="json"),
    )


def _grow_vocabulary(db: Session, dataset_id: str, segments: list[SegmentOut]) -> None:
    """New texts go to the end, in the order of first use."""
    dataset = db.get(Dataset, dataset_id, with_for_update=True)
    assert dataset is not None
    known: list[Any] = list(dataset.vocabulary)
    for segment in segments:
        if segment.text not in known and len(known) < _VOCABULARY_MAX:
            known.append(segment.text)
    if known != dataset.vocabulary:
        dataset.vocabulary = known


# --- answers --------------------------------------------------------------------------------------------------


def _episode(db: Session, episode_id: str, *, lock: bool = False) -> EpisodeRow:
    row = repository.episode(db, episode_id, lock=lock)
    if row is None:
        raise NotFoundError("There is no such episode; it may have been deleted.")
    return row


def _segments(row: EpisodeRow, stored: Draft | None) -> list[SegmentOut]:
    if stored is None:
        return empty(row.steps)
    return [SegmentOut.model_validate(segment) for segment in stored.segments]


def _out(db: Session, row: EpisodeRow, stored: Draft | None) -> DraftOut:
    last = repository.last_revision(db, row.id)
    person = None
    if stored is not None and stored.updated_by is not None:
        person = db.scalar(select(User.name).where(User.id == stored.updated_by))
    return DraftOut(
        episode_id=row.id,
        steps=row.steps,
        edit=stored.edit if stored else 0,
        segments=_segments(row, stored),
        instruction=stored.instruction if stored else row.instruction,
        success=stored.success if stored else row.success,
        label_state=LabelState(row.label_state),
        updated_at=stored.updated_at if stored and stored.edit else None,
        updated_by_name=person,
        published=None if last is None else _revision_out(last),
    )


def _revision_out(revision: LabelRevision) -> RevisionOut:
    return RevisionOut.model_validate(revision)
