"""/api/datasets/{id}/edits."""

from fastapi import APIRouter

from backend.access.dependencies import Db, Operator, Parts, Viewer, require_space
from backend.editing import service
from backend.editing.schemas import EditIn, EditOut, EditPreview

router = APIRouter(prefix="/api/datasets/{dataset_id}/edits", tags=["edits"])


@router.get("")
def list_edits(db: Db, me: Viewer, studio: Parts, dataset_id: str) -> list[EditOut]:
    """Of its episodes or into it, newest first; deletions of episodes are among them."""
    return service.edits(db, studio, dataset_id)


@router.post("/preview")
def preview_edit(me: Viewer, studio: Parts, dataset_id: str, body: EditIn) -> EditPreview:
    """What the edit would make, with the proposals of what rests; changes nothing."""
    return service.preview(studio, dataset_id, body)


@router.post("", status_code=202)
def create_edit(me: Operator, studio: Parts, dataset_id: str, body: EditIn) -> EditOut:
    """New episodes made of others by a job. Their sources are hidden then (but for a copy), and kept for a while:
    see undo_until."""
    require_space(studio)
    return service.create(me, studio, dataset_id, body)


@router.post("/{edit_id}/undo")
def undo_edit(db: Db, me: Operator, studio: Parts, dataset_id: str, edit_id: str) -> EditOut:
    """The sources are back and the results gone. Refused (409) where somebody has labelled a result, or a version lists
    it."""
    return service.undo(db, me, studio, dataset_id, edit_id)
