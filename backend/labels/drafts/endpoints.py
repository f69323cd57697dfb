"""/api/episodes/{id}/draft: drafts, the work on them, and revisions."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.access.dependencies import Annotator, Db, Operator, Parts, Viewer
from backend.labels.core.findings import CheckOut
from backend.labels.drafts import revisions, service, work
from backend.labels.drafts.schemas import (
    ClaimIn,
    DiffOut,
    DraftIn,
    DraftOut,
    HeartbeatIn,
    HeartbeatOut,
    HistoryEntryOut,
    HistoryOut,
    NoteIn,
    NoteOut,
    NotePatch,
    PublishIn,
    ReleaseIn,
    ReopenIn,
    ReviewIn,
    RevisionOut,
    RollbackIn,
    SavedOut,
    SubmitIn,
)
from backend.tables.document import Tier

router = APIRouter(prefix="/api/episodes/{episode_id}", tags=["drafts"])
notes = APIRouter(prefix="/api/notes", tags=["drafts"])
WhichRater = Annotated[int, Query(ge=0, le=1, description="0: the labels that are published; 1: the second, blind")]
State = Annotated[str, Query(max_length=32, description='Id of a revision or of a history entry, or "draft"')]


@router.get("/draft")
def get_draft(db: Db, me: Viewer, episode_id: str, tier: Tier = Tier.SUBSTEP, rater: WhichRater = 0) -> DraftOut:
    return service.draft(db, me, episode_id, tier, rater)


@router.put("/draft")
def save_draft(
    me: Annotator,
    studio: Parts,
    episode_id: str,
    body: DraftIn,
    tier: Tier = Tier.SUBSTEP,
    rater: WhichRater = 0,
) -> SavedOut:
    """409 "conflict" if somebody else saved since `edit`, "leased" while somebody else works on it, "wrong_state" for
    labels that are submitted. error.detail: the stored draft, with `yours` and `differences` beside it."""
    return service.save(studio, me, episode_id, tier, rater, body)


@router.get("/draft/check")
def check_draft(db: Db, me: Viewer, episode_id: str, tier: Tier = Tier.SUBSTEP, rater: WhichRater = 0) -> CheckOut:
    """What stops a publication, and warnings."""
    return service.findings(db, me, episode_id, tier, rater)


@router.post("/draft/claim")
def claim_draft(me: Annotator, studio: Parts, episode_id: str, body: ClaimIn) -> DraftOut:
    """Work on it, with `lease.token` in saves and heartbeats. 409 "leased" if somebody else does: `take_over`."""
    return work.claim(studio, me, episode_id, body)


@router.post("/draft/heartbeat")
def keep_claim(me: Annotator, studio: Parts, episode_id: str, body: HeartbeatIn) -> HeartbeatOut:
    """Every 20 s while the page is open. 409 "leased": somebody took over."""
    return work.heartbeat(studio, me, episode_id, body)


@router.post("/draft/release")
def release_draft(me: Annotator, studio: Parts, episode_id: str, body: ReleaseIn) -> DraftOut:
    return work.release(studio, me, episode_id, body)


@router.post("/draft/submit")
def submit_draft(db: Db, me: Annotator, studio: Parts, episode_id: str, body: SubmitIn) -> DraftOut:
    """Hand it in for review. 422 with `detail.findings` for labels that are not complete."""
    return work.submit(db, me, studio, episode_id, body)


@router.post("/draft/review")
def review_draft(db: Db, me: Annotator, studio: Parts, episode_id: str, body: ReviewIn) -> DraftOut:
    """Approve or reject what somebody else submitted."""
    return work.review(db, me, studio, episode_id, body)


@router.post("/draft/reopen")
def reopen_draft(db: Db, me: Annotator, studio: Parts, episode_id: str, body: ReopenIn) -> DraftOut:
    return work.reopen(db, me, studio, episode_id, body)


@router.post("/draft/notes", status_code=201)
def add_note(db: Db, me: Annotator, studio: Parts, episode_id: str, body: NoteIn) -> NoteOut:
    return work.add_note(db, me, studio, episode_id, body)


@router.get("/draft/history")
def list_history(
    db: Db, me: Viewer, episode_id: str, tier: Tier = Tier.SUBSTEP, rater: WhichRater = 0
) -> list[HistoryOut]:
    """Newest first: hand-ins, reviews, publications, bulk changes, and the state every few minutes of work."""
    return revisions.history(db, me, episode_id, tier, rater)


@router.get("/draft/history/{entry_id}")
def get_history_entry(
    db: Db, me: Viewer, episode_id: str, entry_id: Annotated[str, Path(max_length=32)]
) -> HistoryEntryOut:
    return revisions.history_entry(db, me, episode_id, entry_id)


@router.get("/draft/diff")
def diff_states(
    db: Db,
    me: Viewer,
    episode_id: str,
    left: State,
    right: State = "draft",
    tier: Tier = Tier.SUBSTEP,
    rater: WhichRater = 0,
) -> DiffOut:
    return revisions.diff(db, me, episode_id, tier, rater, left, right)


@router.post("/publish", status_code=201)
def publish(db: Db, me: Annotator, studio: Parts, episode_id: str, body: PublishIn) -> DraftOut:
    """Make a label revision; downloads and dataset versions carry the newest. 422 "not_looked_at" for substeps that a
    script or a file brought, unless `looked_at` says that this person looked; error.detail.segments: which."""
    return revisions.publish(db, me, studio, episode_id, body)


@router.post("/rollback", status_code=201)
def roll_back(db: Db, me: Operator, studio: Parts, episode_id: str, body: RollbackIn) -> DraftOut:
    """Publish an older revision's labels again, as a new revision."""
    return revisions.roll_back(db, me, studio, episode_id, body)


@router.get("/revisions")
def list_revisions(db: Db, me: Viewer, episode_id: str, tier: Tier = Tier.SUBSTEP) -> list[RevisionOut]:
    return revisions.revisions(db, me, episode_id, tier)


@notes.patch("/{note_id}")
def change_note(db: Db, me: Annotator, studio: Parts, note_id: str, body: NotePatch) -> NoteOut:
    return work.change_note(db, me, studio, note_id, body)


@notes.delete("/{note_id}", status_code=204)
def delete_note(db: Db, me: Annotator, studio: Parts, note_id: str) -> None:
    work.delete_note(db, me, studio, note_id)
