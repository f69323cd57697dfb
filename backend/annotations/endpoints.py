"""/api/episodes/{id}/annotation: drafts and revisions."""

from fastapi import APIRouter

from backend.access import Annotator, Db, Parts, Viewer
from backend.annotations import service
from backend.annotations.schemas import DraftIn, DraftOut, PublishIn, RevisionOut

router = APIRouter(prefix="/api/episodes/{episode_id}", tags=["annotations"])


@router.get("/annotation")
def get_draft(db: Db, me: Viewer, studio: Parts, episode_id: str) -> DraftOut:
    return service.draft(db, studio, episode_id)


@router.put("/annotation")
def save_draft(db: Db, me: Annotator, studio: Parts, episode_id: str, body: DraftIn) -> DraftOut:
    """409 with the stored draft as error.detail if somebody else saved since `edit`."""
    return service.save(db, me, studio, episode_id, body)


@router.post("/publish", status_code=201)
def publish(me: Annotator, studio: Parts, episode_id: str, body: PublishIn) -> DraftOut:
    """Make a label revision and write substep_reasonings into the episode file."""
    return service.publish(studio, me, episode_id, body)


@router.get("/revisions")
def list_revisions(db: Db, me: Viewer, episode_id: str) -> list[RevisionOut]:
    return service.revisions(db, episode_id)
