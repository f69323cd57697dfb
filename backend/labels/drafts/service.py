"""Drafts that people edit: reading them and saving them."""

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from backend.core.db import database_now, utc_now
from backend.core.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    LeasedError,
    NotFoundError,
    WrongStateError,
)
from backend.identity.actor import Actor
from backend.labels.core.checks import UsualRange, check
from backend.labels.core.differences import differences
from backend.labels.core.findings import CheckOut
from backend.labels.core.settings import Labelling
from backend.labels.core.start import empty
from backend.labels.drafts import repository
from backend.labels.drafts.repository import DraftContext
from backend.labels.drafts.schemas import DraftIn, DraftOut, LeaseOut, NoteOut, RevisionOut, SavedOut
from backend.labels.sets.usual import usual_for
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.document import DOCUMENT, Tier
from backend.tables.draft import LEASE_SECONDS, Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment

_KEEP = timedelta(minutes=5)  # between two entries of the history that saving alone makes
_TELL = timedelta(seconds=10)  # between two events about the same draft: pages ask again for each
_CLOSED = {WorkState.SUBMITTED, WorkState.APPROVED}


# --- reading --------------------------------------------------------------------------------------------------


def draft(db: Session, me: Actor, episode_id: str, tier: Tier, rater: int) -> DraftOut:
    return draft_out(db, me, visible(db, me, episode_id, tier, rater))


def findings(db: Session, me: Actor, episode_id: str, tier: Tier, rater: int) -> CheckOut:
    """What stops the draft from being published, and what is worth a second look."""
    here = visible(db, me, episode_id, tier, rater)
    return check(segments_of(here), here.row.steps, usual_range(db, here))


def usual_range(db: Session, here: DraftContext) -> UsualRange:
    """What is usual in the episode's dataset; the episode itself does not count."""
    dataset = db.get(Dataset, here.row.dataset_id)
    assert dataset is not None
    return usual_for(db, dataset, here.tier, here.row.id, here.row.fps)


def visible(db: Session, me: Actor, episode_id: str, tier: Tier, rater: int, *, lock: bool = False) -> DraftContext:
    """The draft, if this person may see it. Raises NotFoundError, ForbiddenError for what blind labelling hides."""
    here = repository.draft_context(db, episode_id, tier, rater, me=me.id, lock=lock)
    if here is None:
        raise NotFoundError("There is no such episode; it may have been deleted.")
    if tier is Tier.PLAN and not Labelling.model_validate(here.labelling).plan_tier and here.draft is None:
        raise NotFoundError("This dataset has no second tier; an operator can switch it on in its labelling settings.")
    if here.blind:
        raise ForbiddenError(
            "You label this episode as its second rater: the first rater's labels are shown once yours are submitted."
        )
    if rater > 0:
        if here.draft is None:
            raise NotFoundError("Nobody was asked to label this episode a second time.")
        if here.draft.assignee_id != me.id and here.draft.state not in _CLOSED:
            raise ForbiddenError("A second person is labelling this episode; it is shown once it is submitted.")
    return here


# --- saving ---------------------------------------------------------------------------------------------------


def save(studio: Studio, me: Actor, episode_id: str, tier: Tier, rater: int, body: DraftIn) -> SavedOut:
    """Store the draft if nobody saved since `body.edit`; otherwise ConflictError with both sides.

    One short transaction of its own: fifty people save every two seconds, and SQLite has one writer.
    """
    with studio.db.transaction() as db:
        here = visible(db, me, episode_id, tier, rater, lock=True)
        _fits(here.row, body)
        refuse_leased(db, me, here, token=body.lease, yours=body)
        if (here.draft.edit if here.draft else 0) != body.edit:
            raise _stale(db, me, here, body)
        _refuse_closed(db, me, here)
        draft = stored_draft(db, here)
        document = _document(here, draft, body)
        if here.draft is not None and draft.edit and all(getattr(draft, name) == document[name] for name in DOCUMENT):
            return saved_out(db, here.row, draft)
        _keep_before(db, me, here, draft)
        tell = draft.edit == 0 or draft.updated_by != me.id or abs(here.moment - draft.updated_at) > _TELL
        for name, value in document.items():
            setattr(draft, name, value)
        _count(me, draft, here)
        if tier is Tier.SUBSTEP and rater == 0 and here.row.label_state != LabelState.DRAFT:
            here.row.label_state, tell = LabelState.DRAFT, True
        db.flush()
        if tell:
            publish_after_commit(db, studio, "episode", episode_id)
        return saved_out(db, here.row, draft, person=me.name)


def blank(row: EpisodeRow, tier: Tier, rater: int) -> Draft:
    """A draft as nobody has touched it, one empty segment; not stored."""
    return Draft(
        episode_id=row.id,
        tier=tier,
        rater=rater,
        edit=0,
        segments=empty(row.steps),
        instruction=row.instruction,
        success=row.success,
        failure_step=row.failure_step,
        paraphrases=[],
        quality=row.quality,
        tags=row.tags,
        contributors=[],
        state=WorkState.UNASSIGNED,
        updated_at=utc_now(),
    )


def stored_draft(db: Session, here: DraftContext) -> Draft:
    """The draft, made now if nobody has touched it."""
    if here.draft is not None:
        return here.draft
    draft = blank(here.row, here.tier, here.rater)
    db.add(draft)
    return draft


def _document(here: DraftContext, draft: Draft, body: DraftIn) -> dict[str, Any]:
    """What is stored from now on: of the facts about the episode, those that were left out stay."""
    document: dict[str, Any] = {name: getattr(draft, name) for name in DOCUMENT}
    document["segments"] = tuple(segment.stored() for segment in body.segments)
    given = body.model_fields_set
    for name in ("instruction", "paraphrases", "tags"):
        if getattr(body, name) is not None:
            document[name] = getattr(body, name)
    for name in ("success", "failure_step", "quality"):
        if name in given:
            document[name] = getattr(body, name)
    if document["success"] is not False:
        document["failure_step"] = None
    if document["failure_step"] is not None and document["failure_step"] >= here.row.steps:
        raise InvalidError(
            f"failure_step is {document['failure_step']}, the episode has steps 0 to {here.row.steps - 1}.",
            fields={"failure_step": f"0 to {here.row.steps - 1}"},
        )
    return document


def _count(me: Actor, draft: Draft, here: DraftContext) -> None:
    """One more save of it, by this person."""
    if draft.state is WorkState.APPROVED:
        draft.contributors = []
    if draft.state in _CLOSED or draft.state is WorkState.REJECTED:
        draft.state = WorkState.REOPENED
    elif draft.state is not WorkState.REOPENED:
        draft.state = WorkState.IN_PROGRESS
    if draft.assignee_id is None:
        draft.assignee_id, draft.assigned_at = me.id, utc_now()
    if me.id not in draft.contributors:
        draft.contributors = [*draft.contributors, me.id]
    if draft.lease_holder == me.id and draft.lease_until is not None:
        draft.lease_until = here.now + LEASE_SECONDS
    draft.edit += 1
    draft.updated_at, draft.updated_by = here.moment, me.id


def _keep_before(db: Session, me: Actor, here: DraftContext, draft: Draft) -> None:
    """Put what is about to be overwritten into the history: another person's, or older than a few minutes."""
    another = draft.updated_by is not None and draft.updated_by != me.id
    if another or draft.kept_at is None or abs(here.moment - draft.kept_at) > _KEEP:
        names = repository.names(db, {draft.updated_by})
        keep(db, here.row, draft, HistoryKind.SAVED, by_id=draft.updated_by, by_name=names.get(draft.updated_by or ""))


def keep(
    db: Session,
    row: EpisodeRow,
    draft: Draft,
    kind: HistoryKind,
    *,
    by_id: str | None,
    by_name: str | None,
    about_id: str | None = None,
    comment: str = "",
) -> LabelHistory:
    """Write the draft as it is now into the history."""
    entry = LabelHistory(
        dataset_id=row.dataset_id,
        episode_id=draft.episode_id,
        tier=draft.tier,
        rater=draft.rater,
        edit=draft.edit,
        kind=kind,
        by_id=by_id,
        by_name=by_name,
        about_id=about_id,
        comment=comment,
        **{name: getattr(draft, name) for name in DOCUMENT},
    )
    draft.kept_at = database_now(db)
    db.add(entry)
    return entry


# --- refusals -------------------------------------------------------------------------------------------------


def _fits(row: EpisodeRow, body: DraftIn) -> None:
    end = body.segments[-1].end
    if end != row.steps:
        raise InvalidError(f"The substeps end at step {end}, the episode has {row.steps}. Reload the page.")


def leased(here: DraftContext) -> bool:
    return here.draft is not None and here.draft.held(here.now)


def refuse_leased(
    db: Session, me: Actor, here: DraftContext, *, token: str | None, yours: DraftIn | None = None
) -> None:
    """Raise LeasedError if somebody else works on the draft, or this person in another window."""
    draft = here.draft
    if draft is None or not leased(here):
        return
    if draft.lease_holder != me.id:
        who = repository.names(db, {draft.lease_holder}).get(draft.lease_holder or "", "Somebody")
        message = f"{who} is working on these labels. Nothing of yours is lost: wait, or take over."
    elif token is not None and token != draft.lease_token:
        message = "You are working on these labels in another window. Go on there, or take over here."
    else:
        return
    raise LeasedError(message, detail=both_sides(db, me, here, yours))


def _refuse_closed(db: Session, me: Actor, here: DraftContext) -> None:
    """Handed in labels stay as they are where somebody else is to approve them, and blind ones in any case."""
    draft = here.draft
    if draft is None or draft.state not in _CLOSED:
        return
    if draft.rater > 0 or Labelling.model_validate(here.labelling).review:
        raise WrongStateError(
            f"These labels are {draft.state.value}; reopen them before you change them.",
            detail=both_sides(db, me, here, None),
        )


def refuse_stale(db: Session, me: Actor, here: DraftContext, edit: int) -> None:
    if (here.draft.edit if here.draft else 0) != edit:
        raise _stale(db, me, here, None)


def _stale(db: Session, me: Actor, here: DraftContext, body: DraftIn | None) -> ApiError:
    names = repository.names(db, {here.draft.updated_by if here.draft else None})
    who = next(iter(names.values()), "Somebody")
    return ConflictError(
        f"{who} saved these labels meanwhile. Nothing of yours is lost: take theirs, or put yours over them.",
        detail=both_sides(db, me, here, body),
    )


def both_sides(db: Session, me: Actor, here: DraftContext, yours: DraftIn | None) -> dict[str, Any]:
    """What stands there, and beside it what was sent and where the two differ."""
    detail = draft_out(db, me, here).model_dump(mode="json")
    if yours is not None:
        found = differences(segments_of(here), [segment.stored() for segment in yours.segments])
        detail["yours"] = yours.model_dump(mode="json", exclude_unset=True)
        detail["differences"] = [difference.model_dump(mode="json") for difference in found]
    return detail


# --- answers --------------------------------------------------------------------------------------------------


def segments_of(here: DraftContext) -> tuple[LabelSegment, ...]:
    return empty(here.row.steps) if here.draft is None else here.draft.segments


def saved_out(db: Session, row: EpisodeRow, draft: Draft, *, person: str | None = None) -> SavedOut:
    if person is None:
        person = repository.names(db, {draft.updated_by}).get(draft.updated_by or "")
    return SavedOut(
        episode_id=row.id,
        tier=draft.tier,
        rater=draft.rater,
        steps=row.steps,
        edit=draft.edit,
        state=draft.state,
        label_state=LabelState(row.label_state),
        updated_at=draft.updated_at if draft.edit else None,
        updated_by_name=person if draft.edit else None,
        **{name: getattr(draft, name) for name in DOCUMENT},
    )


def draft_out(db: Session, me: Actor, here: DraftContext, *, token: str | None = None) -> DraftOut:
    """token: of a claim that was just made."""
    draft, tier, rater = here.draft or blank(here.row, here.tier, here.rater), here.tier, here.rater
    last = repository.last_revision(db, here.row.id, tier) if rater == 0 else None
    names = repository.names(db, {draft.assignee_id, draft.submitted_by, draft.lease_holder, draft.updated_by})
    lease = _lease_out(me, here, names, token)
    saved = saved_out(db, here.row, draft, person=names.get(draft.updated_by or "", ""))
    return DraftOut(
        **dict(saved),
        assignee_id=draft.assignee_id,
        assignee_name=names.get(draft.assignee_id or ""),
        submitted_by_id=draft.submitted_by,
        submitted_by_name=names.get(draft.submitted_by or ""),
        lease=lease,
        read_only=_read_only(here, lease),
        may_review=may_review(me, here),
        notes=[NoteOut.model_validate(note) for note in repository.notes(db, here.row.id, tier, rater)],
        published=None if last is None else revision_out(last),
    )


def _lease_out(me: Actor, here: DraftContext, names: dict[str, str], token: str | None) -> LeaseOut | None:
    draft = here.draft
    if draft is None or not leased(here):
        return None
    assert draft.lease_until is not None
    assert draft.lease_holder is not None
    return LeaseOut(
        holder_id=draft.lease_holder,
        holder_name=names.get(draft.lease_holder),
        mine=draft.lease_holder == me.id,
        seconds_left=draft.lease_until - here.now,
        token=token,
    )


def _read_only(here: DraftContext, lease: LeaseOut | None) -> str | None:
    if lease is not None and not lease.mine:
        return f"{lease.holder_name or 'Somebody'} is working on these labels."
    draft = here.draft
    if draft is not None and draft.state in _CLOSED:
        if draft.rater > 0:
            return "These blind labels are submitted."
        if Labelling.model_validate(here.labelling).review:
            return f"These labels are {draft.state.value}; reopen them before you change them."
    return None


def may_review(me: Actor, here: DraftContext) -> bool:
    """Handed in, by somebody else, and nothing of it is this person's own."""
    draft = here.draft
    if draft is None or draft.rater > 0 or draft.state is not WorkState.SUBMITTED:
        return False
    role = Labelling.model_validate(here.labelling).reviewer_role
    return me.role.allows(role) and me.id != draft.submitted_by and me.id not in draft.contributors


def revision_out(revision: LabelRevision) -> RevisionOut:
    return RevisionOut.model_validate(revision)
