"""/api/episodes: lists, frames, motion, upload and download."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.core.limits import MAX_INSTRUCTION, MAX_STEPS
from backend.core.paging import CursorPage
from backend.core.schemas import Page
from backend.episodes import service
from backend.episodes.frames import PackQuery
from backend.episodes.schemas import EpisodeDetail, EpisodeOut, EpisodesIn, Motion, UploadResult
from backend.intake.upload import upload
from backend.labels.drafts.download import download

router = APIRouter(prefix="/api", tags=["episodes"])
NO_LIMIT = 2**62  # upload has one of its own, in words
UPLOAD_BODY = {
    "required": True,
    "description": "The HDF5 file as it is: no form, no multipart",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
Camera = Annotated[str, Path(max_length=64)]
Step = Annotated[int, Path(ge=-MAX_STEPS, le=MAX_STEPS)]


def _known(request: Request) -> str | None:
    """What the browser has already."""
    return request.headers.get("if-none-match")


@router.get("/datasets/{dataset_id}/episodes")
def list_episodes(
    db: Db,
    me: Viewer,
    dataset_id: str,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[EpisodeOut]:
    return service.episodes(db, me, dataset_id, offset=offset, limit=limit)


@router.get("/datasets/{dataset_id}/episodes/page")
def page_episodes(db: Db, me: Viewer, dataset_id: str, asked: Annotated[EpisodesIn, Query()]) -> CursorPage[EpisodeOut]:
    """A part of the list, searched, filtered and sorted here."""
    return service.page(db, me, dataset_id, asked)


@router.post(
    "/datasets/{dataset_id}/episodes",
    status_code=201,
    max_body_size=NO_LIMIT,
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def upload_episode(
    me: Operator,
    studio: Parts,
    dataset_id: str,
    request: Request,
    name: Annotated[str, Query(max_length=256)] = "",
    instruction: Annotated[str, Query(max_length=MAX_INSTRUCTION)] = "",
) -> UploadResult:
    """The HDF5 file is the body as it is (application/octet-stream); checked in a sandbox before it is accepted.

    instruction: for a file that has none of its own.
    """
    return await upload(studio, me, dataset_id, request, name=name, instruction=instruction)


@router.get("/episodes/{episode_id}")
def get_episode(db: Db, me: Viewer, episode_id: str) -> EpisodeDetail:
    return service.episode(db, me, episode_id)


@router.delete("/episodes/{episode_id}", status_code=204)
def delete_episode(db: Db, me: Operator, studio: Parts, episode_id: str) -> None:
    """Refused (409) while a dataset version lists it. Its edit in GET /api/datasets/{id}/edits undoes it, for a
    while; on a disk that is nearly full it is gone at once."""
    service.delete_episode(db, me, studio, episode_id)


@router.get("/episodes/{episode_id}/motion", response_model=Motion)
def get_motion(
    db: Db,
    me: Viewer,
    studio: Parts,
    request: Request,
    episode_id: str,
    binary: Annotated[bool, Query(description="As application/octet-stream: a tenth of the time")] = False,
) -> Response:
    """States and actions of all steps.

    With `binary`: three little-endian uint32, the steps, the dimensions of an action and those of a state, then
    float32: each dimension of the actions over all steps, then each of the states.
    """
    return service.motion(db, studio, episode_id, binary=binary, known=_known(request))


@router.get("/episodes/{episode_id}/thumbnail", response_class=Response)
def get_thumbnail(db: Db, me: Viewer, studio: Parts, request: Request, episode_id: str) -> Response:
    """A small JPEG of the first camera, from the middle of the episode."""
    return service.thumbnail(db, studio, episode_id, known=_known(request))


@router.get("/episodes/{episode_id}/frames/{camera}/{step}", response_class=Response)
def get_frame(
    db: Db, me: Viewer, studio: Parts, request: Request, episode_id: str, camera: Camera, step: Step
) -> Response:
    """The exact frame of a camera at a step, JPEG."""
    return service.frame(db, studio, episode_id, camera, step, known=_known(request))


@router.get("/episodes/{episode_id}/pack", response_class=Response)
def get_pack(
    db: Db,
    me: Viewer,
    studio: Parts,
    request: Request,
    episode_id: str,
    start: Annotated[int, Query(ge=0, le=MAX_STEPS)],
    count: Annotated[int, Query(ge=1, le=200)] = 50,
    stride: Annotated[int, Query(ge=1, le=64, description="Only every so many-th step, for fast playback")] = 1,
    height: Annotated[int | None, Query(ge=32, le=1080, description="Proxy: at most this many rows")] = None,
) -> Response:
    """Steps start, start + stride, ... (count of them) of all cameras, application/octet-stream.

    A little-endian uint32 with the length of a JSON header, the header {"start": int, "stride": int, "count": int,
    "cameras": [name], "sizes": [[bytes of camera 0, camera 1, ...] for each step]}, then the JPEGs in that
    order. Past the end, and beyond 128 MiB, fewer steps come back.
    """
    query = PackQuery(start=start, count=count, stride=stride, height=height)
    return service.pack(db, studio, episode_id, query, known=_known(request))


@router.get("/episodes/{episode_id}/file", response_class=Response)
def download_episode(db: Db, me: Viewer, studio: Parts, request: Request, episode_id: str) -> Response:
    """The HDF5 file with the newest published labels as substep_reasonings, language_raw and success; Range and
    If-Range work."""
    return download(db, me, studio, request, episode_id)
