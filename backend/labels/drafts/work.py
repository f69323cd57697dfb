"""Who works on a draft, and what others say about it: claims with a lease, submission, review, reopening."""

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import new_id, utc_now
from backend.core.errors import ForbiddenError, InvalidError, LeasedError, NotFoundError, WrongStateError
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.labels.core.checks import refuse_incomplete
from backend.labels.core.settings import Labelling
from backend.labels.drafts import repository
from backend.labels.drafts.repository import DraftContext
from backend.labels.drafts.schemas import (
    ClaimIn,
    DraftOut,
    HeartbeatIn,
    HeartbeatOut,
    NoteIn,
    NoteOut,
    NotePatch,
    ReleaseIn,
    ReopenIn,
    ReviewIn,
    SubmitIn,
)
from backend.labels.drafts.service import (
    both_sides,
    draft_out,
    keep,
    leased,
    may_review,
    refuse_leased,
    refuse_stale,
    segments_of,
    stored_draft,
    visible,
)
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.document import Tier
from backend.tables.draft import LEASE_SECONDS, SUBMITTED_STATES, Draft, WorkState
from backend.tables.label_history import HistoryKind
from backend.tables.review_note import ReviewNote

# --- claims ---------------------------------------------------------------------------------------------------


def claim(studio: Studio, me: Actor, episode_id: str, body: ClaimIn) -> DraftOut:
    """Begin to work on it: for LEASE_SECONDS from the last sign of life nobody else can save.

    Raises LeasedError while somebody else does, or while it is given to somebody else, unless body.take_over.
    """
    with studio.db.transaction() as db:
        here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
        _refuse_taken(db, me, here, body)
        draft = stored_draft(db, here)
        if draft.rater > 0 and draft.assignee_id != me.id:
            raise ForbiddenError("These blind labels are another person's.")
        before = draft.assignee_id if draft.assignee_id != me.id else None
        if leased(here) and draft.lease_holder != me.id:
            before = draft.lease_holder
        if before is not None:
            keep(db, here.row, draft, HistoryKind.TAKEN_OVER, by_id=me.id, by_name=me.name, about_id=before)
            record(db, me, "episode.take_over", episode_id, from_user=before, tier=body.tier.value)
        if draft.assignee_id != me.id and draft.state not in SUBMITTED_STATES:
            draft.assignee_id, draft.assigned_at = me.id, utc_now()
        if draft.state is WorkState.UNASSIGNED:
            draft.state = WorkState.CLAIMED
        same_page = draft.lease_holder == me.id and body.token is not None and body.token == draft.lease_token
        draft.lease_holder, draft.lease_until = me.id, here.now + LEASE_SECONDS
        draft.lease_token = draft.lease_token if same_page else new_id()
        db.flush()
        publish_after_commit(db, studio, "episode", episode_id)
        now = _again(db, me, here)
        return draft_out(db, me, now, token=draft.lease_token)


def _refuse_taken(db: Session, me: Actor, here: DraftContext, body: ClaimIn) -> None:
    """Unless it is taken over: then the one who had it is told at their next save or sign of life."""
    if body.take_over:
        return
    draft = here.draft
    if leased(here) and body.token is None and draft is not None and draft.lease_holder == me.id:
        raise LeasedError(
            "You are working on these labels in another window. Go on there, or take over here.",
            detail=both_sides(db, me, here, None),
        )
    refuse_leased(db, me, here, token=body.token)
    given = draft is not None and draft.assignee_id not in {None, me.id}
    if draft is not None and given and draft.state not in SUBMITTED_STATES:
        who = repository.names(db, {draft.assignee_id}).get(draft.assignee_id or "", "somebody else")
        raise LeasedError(
            f"These labels are given to {who}. Take over if you want.", detail=both_sides(db, me, here, None)
        )


def heartbeat(studio: Studio, me: Actor, episode_id: str, body: HeartbeatIn) -> HeartbeatOut:
    """I am still here. Raises LeasedError if somebody took over; a lease that ran out and nobody took is mine again.

    A page says it also while its own submission is on the way: nothing was taken from it then, nothing is left to hold.
    """
    with studio.db.transaction() as db:
        here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
        refuse_leased(db, me, here, token=body.token)
        draft = here.draft
        submitted = draft is not None and draft.state in SUBMITTED_STATES and draft.submitted_by == me.id
        if draft is not None and submitted and draft.lease_holder is None:
            return HeartbeatOut(seconds_left=0, edit=draft.edit, state=draft.state)
        if draft is None or draft.lease_holder != me.id or draft.lease_token != body.token:
            raise LeasedError(
                "Somebody else worked on these labels meanwhile. Claim them again.",
                detail=both_sides(db, me, here, None),
            )
        draft.lease_until = here.now + LEASE_SECONDS
        return HeartbeatOut(seconds_left=LEASE_SECONDS, edit=draft.edit, state=draft.state)


def release(studio: Studio, me: Actor, episode_id: str, body: ReleaseIn) -> DraftOut:
    """Stop working on it. A page that was taken over from changes nothing."""
    with studio.db.transaction() as db:
        here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
        draft = here.draft
        if draft is not None and draft.lease_holder == me.id and body.token in {None, draft.lease_token}:
            draft.lease_holder = draft.lease_token = draft.lease_until = None
        if body.give_back and draft is not None and draft.assignee_id == me.id and draft.state not in SUBMITTED_STATES:
            if draft.rater > 0:
                raise ForbiddenError("Blind labels cannot be given back; an operator can assign them to somebody else.")
            draft.assignee_id = draft.assigned_at = None
            if draft.state is WorkState.CLAIMED:
                draft.state = WorkState.UNASSIGNED
        db.flush()
        publish_after_commit(db, studio, "episode", episode_id)
        return draft_out(db, me, _again(db, me, here))


def _again(db: Session, me: Actor, here: DraftContext) -> DraftContext:
    found = repository.draft_context(db, here.row.id, here.tier, here.rater, me=me.id)
    assert found is not None
    return found


# --- submission and review -------------------------------------------------------------------------------------


def submit(db: Session, me: Actor, studio: Studio, episode_id: str, body: SubmitIn) -> DraftOut:
    """Raises InvalidError for labels that are not complete, ConflictError if the draft is another by now."""
    here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
    refuse_leased(db, me, here, token=None)
    refuse_stale(db, me, here, body.edit)
    if here.draft is not None and here.draft.state in SUBMITTED_STATES:
        raise WrongStateError(
            f"These labels are {here.draft.state.value} already.", detail=both_sides(db, me, here, None)
        )
    refuse_incomplete(segments_of(here), here.row.steps)
    draft = stored_draft(db, here)
    mark_submitted(db, me, here, draft)
    db.flush()
    publish_after_commit(db, studio, "episode", episode_id)
    return draft_out(db, me, _again(db, me, here))


def mark_submitted(db: Session, me: Actor, here: DraftContext, draft: Draft) -> None:
    draft.state, draft.submitted_by, draft.submitted_at = WorkState.SUBMITTED, me.id, utc_now()
    if draft.assignee_id is None:
        draft.assignee_id, draft.assigned_at = me.id, utc_now()
    draft.lease_holder = draft.lease_token = draft.lease_until = None
    keep(db, here.row, draft, HistoryKind.SUBMITTED, by_id=me.id, by_name=me.name)


def review(db: Session, me: Actor, studio: Studio, episode_id: str, body: ReviewIn) -> DraftOut:
    """Approve, or reject with reasons. Nobody reviews what they submitted or what their saves are in."""
    here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
    refuse_stale(db, me, here, body.edit)
    draft = here.draft
    if draft is None or draft.state is not WorkState.SUBMITTED or draft.rater > 0:
        state = WorkState.UNASSIGNED if draft is None else draft.state
        message = f"Only submitted labels are reviewed; these are {state.value.replace('_', ' ')}."
        raise WrongStateError(message, detail=both_sides(db, me, here, None))
    if not may_review(me, here):
        role = Labelling.model_validate(here.labelling).reviewer_role
        if not me.role.allows(role):
            raise ForbiddenError(f"Labels of this dataset are reviewed by people with the role {role.value}.")
        raise ForbiddenError("Nobody reviews their own labels; ask somebody else.")
    for note in body.notes:
        _add_note(db, me, here, draft.edit, note.start, note.end, note.text)
    draft.state = WorkState.APPROVED if body.approve else WorkState.REJECTED
    kind = HistoryKind.APPROVED if body.approve else HistoryKind.REJECTED
    keep(
        db,
        here.row,
        draft,
        kind,
        by_id=me.id,
        by_name=me.name,
        about_id=draft.submitted_by,
        comment=body.comment.strip(),
    )
    record(db, me, f"episode.{kind.value}", episode_id, edit=draft.edit, tier=body.tier.value)
    db.flush()
    publish_after_commit(db, studio, "episode", episode_id)
    return draft_out(db, me, _again(db, me, here))


def reopen(db: Session, me: Actor, studio: Studio, episode_id: str, body: ReopenIn) -> DraftOut:
    """Work on it goes on. Who submitted it takes it back themselves; approved labels need an operator."""
    here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
    draft = here.draft
    if draft is None or draft.state not in {*SUBMITTED_STATES, WorkState.REJECTED}:
        raise WrongStateError("These labels are being worked on; there is nothing to reopen.")
    if draft.rater > 0:
        raise WrongStateError("Blind labels stay as they were submitted.")
    own = draft.state is not WorkState.APPROVED and me.id in {draft.submitted_by, draft.assignee_id}
    if not own and not me.role.allows(Role.OPERATOR):
        raise ForbiddenError("Only who submitted them, or an operator, can reopen these labels.")
    if draft.state is WorkState.APPROVED:
        draft.contributors = []
    draft.state = WorkState.REOPENED
    comment = body.comment.strip()
    keep(db, here.row, draft, HistoryKind.REOPENED, by_id=me.id, by_name=me.name, comment=comment)
    db.flush()
    publish_after_commit(db, studio, "episode", episode_id)
    return draft_out(db, me, _again(db, me, here))


# --- notes ----------------------------------------------------------------------------------------------------


def add_note(db: Session, me: Actor, studio: Studio, episode_id: str, body: NoteIn) -> NoteOut:
    here = visible(db, me, episode_id, body.tier, body.rater, lock=True)
    note = _add_note(db, me, here, body.edit, body.start, body.end, body.text)
    db.flush()
    publish_after_commit(db, studio, "episode", episode_id)
    return NoteOut.model_validate(note)


def _add_note(db: Session, me: Actor, here: DraftContext, edit: int, start: int, end: int, text: str) -> ReviewNote:
    if not start < end <= here.row.steps:
        raise InvalidError(f"The note is about steps {start} to {end - 1}, the episode has 0 to {here.row.steps - 1}.")
    if not text.strip():
        raise InvalidError("The note is empty.", fields={"text": "it is empty"})
    note = ReviewNote(
        episode_id=here.row.id,
        tier=here.tier,
        rater=here.rater,
        edit=edit,
        start=start,
        end=end,
        text=text.strip(),
        author_id=me.id,
        author_name=me.name,
    )
    db.add(note)
    return note


def change_note(db: Session, me: Actor, studio: Studio, note_id: str, body: NotePatch) -> NoteOut:
    note = _note(db, me, note_id)
    note.resolved_at = utc_now() if body.resolved else None
    note.resolved_by_name = me.name if body.resolved else None
    db.flush()
    publish_after_commit(db, studio, "episode", note.episode_id)
    return NoteOut.model_validate(note)


def delete_note(db: Session, me: Actor, studio: Studio, note_id: str) -> None:
    note = _note(db, me, note_id)
    if note.author_id != me.id and not me.role.allows(Role.OPERATOR):
        raise ForbiddenError("Only who wrote the note, or an operator, can delete it; mark it as resolved instead.")
    db.delete(note)
    publish_after_commit(db, studio, "episode", note.episode_id)


def _note(db: Session, me: Actor, note_id: str) -> ReviewNote:
    note = db.get(ReviewNote, note_id)
    if note is None:
        raise NotFoundError("There is no such note; it may have been deleted.")
    visible(db, me, note.episode_id, Tier(note.tier), note.rater, lock=True)
    return note
