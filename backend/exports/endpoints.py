"""/api/datasets/{id}/exports, /api/exports/formats."""

from fastapi import APIRouter, Request, Response

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.exports import service
from backend.exports.files import destinations
from backend.exports.formats import formats
from backend.exports.schemas import DestinationOut, ExportChoice, ExportIn, ExportOut, FormatOut, PreviewOut

router = APIRouter(prefix="/api", tags=["exports"])


@router.get("/exports/formats")
def list_export_formats(me: Viewer) -> list[FormatOut]:
    """What episodes can be written as."""
    return formats()


@router.get("/exports/destinations")
def list_export_destinations(me: Viewer, studio: Parts) -> list[DestinationOut]:
    """Where an export may go: an archive, folders and places in S3 that the administrator of the machine configured."""
    return destinations(studio.settings)


@router.get("/datasets/{dataset_id}/exports")
def list_exports(db: Db, me: Viewer, studio: Parts, dataset_id: str) -> list[ExportOut]:
    """Newest first, with their jobs; old ones are removed by themselves (expires_at)."""
    return service.exports(db, studio, dataset_id)


@router.post("/datasets/{dataset_id}/exports/preview")
def preview_export(db: Db, me: Viewer, studio: Parts, dataset_id: str, body: ExportChoice) -> PreviewOut:
    """What a choice comes to; changes nothing."""
    return service.preview(db, studio, dataset_id, body)


@router.post("/datasets/{dataset_id}/exports", status_code=202)
def create_export(db: Db, me: Operator, studio: Parts, dataset_id: str, body: ExportIn) -> ExportOut:
    """The chosen episodes with their published labels, made by a job; its archive can be downloaded when that is
    done."""
    return service.create(db, me, studio, dataset_id, body)


@router.delete("/datasets/{dataset_id}/exports/{export_id}", status_code=204)
def delete_export(db: Db, me: Operator, studio: Parts, dataset_id: str, export_id: str) -> None:
    """Refused (409) while its job is not over."""
    service.delete(db, me, studio, dataset_id, export_id)


@router.head("/datasets/{dataset_id}/exports/{export_id}/archive", include_in_schema=False)
@router.get("/datasets/{dataset_id}/exports/{export_id}/archive", response_class=Response)
def download_export(db: Db, me: Viewer, studio: Parts, request: Request, dataset_id: str, export_id: str) -> Response:
    """All files as one .tar, made while it is sent; ETag is its sha256, Range and If-Range work."""
    return service.archive(db, me, studio, request, dataset_id, export_id)
