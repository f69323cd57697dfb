"""/api/checkpoints."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.checkpoints import service
from backend.checkpoints.schemas import CheckpointDetail, CheckpointOut, CheckpointPage, CheckpointsIn
from backend.core.paging import tell_rest

router = APIRouter(prefix="/api/checkpoints", tags=["checkpoints"])


@router.get("")
def list_checkpoints(
    db: Db,
    me: Viewer,
    response: Response,
    run_id: Annotated[str | None, Query(max_length=32)] = None,
    deleted: bool = False,
) -> list[CheckpointOut]:
    """The newest of them, 1000 at most; /page has them all, as a header `Link` says where this list was cut.

    deleted: those whose files are gone too."""
    found = service.checkpoints(db, run_id=run_id, deleted=deleted)
    tell_rest(response, len(found), "/api/checkpoints/page")
    return found


@router.get("/page")
def page_checkpoints(db: Db, me: Viewer, asked: Annotated[CheckpointsIn, Query()]) -> CheckpointPage:
    """A part of the list, searched, filtered and sorted here."""
    return service.page(db, asked)


@router.get("/{checkpoint_id}")
def get_checkpoint(db: Db, me: Viewer, checkpoint_id: str) -> CheckpointDetail:
    return service.checkpoint(db, checkpoint_id)


@router.delete("/{checkpoint_id}", status_code=204)
def delete_checkpoint(db: Db, me: Operator, studio: Parts, checkpoint_id: str) -> None:
    """Removes its files. Refused (409) while a run that is not over, or a queued evaluation, needs them."""
    service.delete(db, me, studio, checkpoint_id)


@router.head("/{checkpoint_id}/files/{name}", include_in_schema=False)
@router.get("/{checkpoint_id}/files/{name}", response_class=Response)
def download_file(
    db: Db, me: Viewer, studio: Parts, request: Request, checkpoint_id: str, name: Annotated[str, Path(max_length=256)]
) -> Response:
    """One file; ETag is its sha256, Range and If-Range work."""
    return service.file(db, studio, request, checkpoint_id, name)


@router.head("/{checkpoint_id}/archive", include_in_schema=False)
@router.get("/{checkpoint_id}/archive", response_class=Response)
def download_archive(db: Db, me: Viewer, studio: Parts, request: Request, checkpoint_id: str) -> Response:
    """All files as one .tar, made while it is sent; ETag is its sha256, Range and If-Range work."""
    return service.archive(db, studio, request, checkpoint_id)
