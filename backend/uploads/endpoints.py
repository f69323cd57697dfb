"""/api/datasets/{id}/uploads, /api/uploads: many files and folders, in pieces, by the tus protocol 1.0.0."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from backend.access.dependencies import Db, NeedsSpace, Operator, Parts, Viewer
from backend.core.errors import ConflictError, InvalidError
from backend.imports.schemas import ImportPreviewOut
from backend.jobs.schemas import JobOut
from backend.tables.upload import UploadState
from backend.uploads import folders, receiving, service, tus
from backend.uploads.schemas import (
    DigestIn,
    UploadDetail,
    UploadFileIn,
    UploadFileOut,
    UploadImportIn,
    UploadIn,
    UploadOut,
    UploadPreviewIn,
)

router = APIRouter(prefix="/api", tags=["uploads"])
_NO_LIMIT = 2**62  # a piece's limit is the announced size, in words
_LISTED_BODY = 8 * 2**20  # of names and sizes
_PIECE = {
    "required": True,
    "description": "The file's bytes from Upload-Offset on, as they are: no form, no multipart",
    "content": {tus.PIECE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}


def _said(**headers: str) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"description": what, "schema": {"type": "string"}} for name, what in headers.items()
    }


_GOES_ON: dict[int | str, dict[str, Any]] = {
    409: {
        "description": "The studio has another number of bytes, see Upload-Offset: go on from there",
        "headers": _said(Upload_Offset="Bytes that are there"),
    },
    410: {"description": "Its days were over"},
    412: {"description": "Another version of tus, see Tus-Version"},
}


def _refuse_form(request: Request, dataset_id: str) -> None:
    """A form is read by nobody: what to send instead, in words."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or kind == "application/x-www-form-urlencoded":
        raise InvalidError(
            f"The upload came as a form ({kind}). Announce the files as JSON "
            '({"files": [{"path": "episode.hdf5", "size": 12345}]}), then send the bytes of each to its url by tus '
            "(PATCH); or send one file as the body of one request: curl --data-binary @episode.hdf5 "
            f"-H 'Content-Type: application/octet-stream' '.../api/datasets/{dataset_id}/episodes?name=episode.hdf5'"
        )


NoForm = Depends(_refuse_form)
Version = Annotated[str | None, Header(description=f"{tus.VERSION}, on every request of tus")]


@router.get("/datasets/{dataset_id}/uploads")
def list_uploads(db: Db, me: Viewer, studio: Parts, dataset_id: str) -> list[UploadOut]:
    """Newest first, with how far they are; forgotten some days after their last byte (expires_at)."""
    return service.uploads(db, me, studio, dataset_id)


@router.post(
    "/datasets/{dataset_id}/uploads", status_code=201, max_body_size=_LISTED_BODY, dependencies=[NoForm, NeedsSpace]
)
def announce_upload(me: Operator, studio: Parts, dataset_id: str, body: UploadIn) -> UploadDetail:
    """Say which files are going to be sent. Each has a `url` to which its bytes are sent by tus (HEAD, PATCH); what the
    dataset has already, and what is too large, is told now and not sent."""
    return service.announce(me, studio, dataset_id, body)


@router.options("/datasets/{dataset_id}/uploads/files", status_code=204, response_class=Response)
def tus_options(me: Viewer, studio: Parts, dataset_id: str) -> Response:
    """What of tus the studio speaks."""
    return Response(
        status_code=204,
        headers={
            **tus.answer_headers(),
            "Tus-Version": tus.VERSION,
            "Tus-Extension": tus.EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS),
            "Tus-Max-Size": str(studio.settings.max_upload_mb * 2**20),
        },
    )


@router.post(
    "/datasets/{dataset_id}/uploads/files",
    status_code=201,
    response_class=Response,
    dependencies=[NoForm, NeedsSpace],
    responses={
        201: {"headers": _said(Location="Where the bytes are sent to", Upload_Expires="When it is forgotten")},
        409: {"description": "The dataset has this file already (the metadata named its sha256)"},
        412: _GOES_ON[412],
    },
)
def create_tus_upload(
    me: Operator,
    studio: Parts,
    dataset_id: str,
    request: Request,
    tus_resumable: Version = None,
    upload_length: Annotated[str | None, Header(description="The file's size, bytes")] = None,
    upload_metadata: Annotated[
        str | None,
        Header(description="filename, and perhaps sha256 (hex) and instruction: `name <base64>,name <base64>`"),
    ] = None,
) -> Response:
    """For clients that speak tus and nothing else: announces one file. Its bytes follow by PATCH to `Location`."""
    tus.require_version(request.headers)
    said = tus.metadata(request.headers)
    size = tus.number(request.headers, "Upload-Length")
    name = said.get("relativePath") or said.get("filename") or said.get("name") or "episode.hdf5"
    most = studio.settings.max_upload_mb
    if size > most * 2**20:
        raise tus.TooLargeError(
            f"{name[:100]} has {size / 2**20:.0f} MiB, at most {most} MiB may be uploaded (STUDIO_MAX_UPLOAD_MB).",
            headers={"Tus-Max-Size": str(most * 2**20)},
        )
    wanted = UploadIn(
        files=[UploadFileIn(path=name, size=size, sha256=said.get("sha256", "").lower() or None)],
        instruction=said.get("instruction", ""),
    )
    made = service.announce(me, studio, dataset_id, wanted)
    file = made.items[0]
    if file.state in {UploadState.ALREADY_THERE, UploadState.REFUSED}:
        raise ConflictError(f"{name}: {file.message}", detail={"episode_id": file.episode_id})
    return Response(
        status_code=201,
        headers={**tus.answer_headers(offset=file.received, expires=made.expires_at), "Location": file.url},
    )


@router.get("/uploads/{upload_id}")
def get_upload(db: Db, me: Viewer, studio: Parts, upload_id: str) -> UploadDetail:
    """With its files, and what became of each."""
    return service.detail(db, me, studio, service.found(db, upload_id))


@router.delete("/uploads/{upload_id}", status_code=204)
def cancel_upload(db: Db, me: Operator, studio: Parts, upload_id: str) -> None:
    """What arrived is removed; episodes that were taken in stay."""
    service.cancel(db, me, studio, upload_id)


@router.post("/uploads/{upload_id}/episodes", dependencies=[NeedsSpace])
def take_episodes_of_upload(me: Operator, studio: Parts, upload_id: str) -> UploadDetail:
    """Of a folder that is there as a whole: take its HDF5 files in as episodes, and remove the rest of it."""
    return folders.take_episodes(me, studio, upload_id)


@router.get("/uploads/files/{file_id}")
def get_uploaded_file(db: Db, me: Viewer, file_id: str) -> UploadFileOut:
    """How far it is, and what became of it: asked until its state is taken_in, already_there, refused or staged."""
    return service.file_outs(db, [service.found_file(db, file_id)[1]])[0]


@router.put("/uploads/files/{file_id}/sha256")
def say_sha256(db: Db, me: Operator, studio: Parts, file_id: str, body: DigestIn) -> UploadFileOut:
    """What the whole file is going to be: compared when it has arrived, and one that the dataset has need not be sent
    (already_there)."""
    return service.say_digest(db, me, studio, file_id, body)


@router.head(
    "/uploads/files/{file_id}",
    response_class=Response,
    responses={200: {"headers": _said(Upload_Offset="Bytes that are there", Upload_Length="Bytes in all")}},
)
def tus_offset(me: Operator, studio: Parts, file_id: str, request: Request, tus_resumable: Version = None) -> Response:
    """How many bytes of the file are there: where to go on."""
    tus.require_version(request.headers)
    return Response(status_code=200, headers=receiving.offset_of(studio, me, file_id))


@router.patch(
    "/uploads/files/{file_id}",
    status_code=204,
    response_class=Response,
    max_body_size=_NO_LIMIT,
    openapi_extra={"requestBody": _PIECE},
    responses={
        204: {"headers": _said(Upload_Offset="Bytes that are there now", Upload_Expires="When it is forgotten")},
        **_GOES_ON,
        413: {"description": "More than was announced"},
        415: {"description": f"Not {tus.PIECE_TYPE}: a form, say"},
        460: {"description": "The piece is not what Upload-Checksum says; nothing of it was kept"},
    },
)
async def tus_send(
    me: Operator,
    studio: Parts,
    file_id: str,
    request: Request,
    tus_resumable: Version = None,
    upload_offset: Annotated[str | None, Header(description="Bytes that are there before this piece")] = None,
    upload_checksum: Annotated[
        str | None,
        Header(description=f"Of this piece, at most {tus.PIECE_BYTES} bytes: `sha256 <base64>` (or sha1)"),
    ] = None,
) -> Response:
    """A piece of the file, or all that is left of it. If the connection breaks, ask with HEAD and go on from there."""
    return Response(status_code=204, headers=await receiving.receive(studio, me, request, file_id))


@router.delete("/uploads/files/{file_id}", status_code=204)
def cancel_uploaded_file(db: Db, me: Operator, studio: Parts, file_id: str) -> Response:
    """What arrived of it is removed."""
    service.cancel_file(db, me, studio, file_id)
    return Response(status_code=204, headers=tus.answer_headers())


@router.post("/uploads/{upload_id}/import/preview", dependencies=[NeedsSpace])
def preview_uploaded_folder(me: Operator, studio: Parts, upload_id: str, body: UploadPreviewIn) -> ImportPreviewOut:
    """One episode of an uploaded folder, as the profile would have it; nothing is imported."""
    return folders.preview_import(me, studio, upload_id, body)


@router.post("/uploads/{upload_id}/import", status_code=202, dependencies=[NeedsSpace])
def import_uploaded_folder(me: Operator, studio: Parts, upload_id: str, body: UploadImportIn) -> JobOut:
    """All episodes of an uploaded folder, by a job; its result names those that were refused, with the reasons."""
    return folders.start_import(me, studio, upload_id, body)
