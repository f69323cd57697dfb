"""Lists of episodes, their pictures and motion, upload, download and deletion."""

import asyncio
import errno
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from backend.access import Actor
from backend.annotations.models import Tier
from backend.annotations.revisions import file_with_labels
from backend.annotations.service import visible
from backend.audit.service import record
from backend.auth.roles import Role
from backend.context import Studio
from backend.datasets.models import Dataset, DatasetVersion
from backend.db import new_id, utc_now
from backend.directory import credential_of
from backend.episodes import frames, repository
from backend.episodes.ingest import accept
from backend.episodes.models import EpisodeRow, EpisodeSource
from backend.episodes.names import dimension_names, gripper_dimensions
from backend.episodes.schemas import CameraOut, EpisodeDetail, EpisodeOut, UploadResult
from backend.episodes.turns import GONE
from backend.errors import ConflictError, DiskFullError, InvalidError, NotFoundError, NotSignedInError
from backend.events import publish_after_commit
from backend.removal import remove_after_commit
from backend.schemas import Page
from dexvla.episodes.reader import open_episode
from dexvla.files import atomic_file

# Motion and pictures of an episode never change, so what shows them may be kept for good.
_FOREVER = "private, max-age=31536000, immutable"
_SPARE_BYTES = 64 * 2**20
_LOOK_SECONDS = 0.2  # between two looks at whether the client is still there


def episodes(db: Session, me: Actor, dataset_id: str, *, offset: int, limit: int) -> Page[EpisodeOut]:
    if db.get(Dataset, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    rows, total = repository.page(db, dataset_id, offset=offset, limit=limit)
    return Page(items=outs(db, me, list(rows)), total=total)


def outs(db: Session, me: Actor, rows: list[EpisodeRow]) -> list[EpisodeOut]:
    segments = _segments(db, me, rows)
    return [EpisodeOut.model_validate(_facts(row, segments.get(row.id, []))) for row in rows]


def _segments(db: Session, me: Actor, rows: list[EpisodeRow]) -> dict[str, list[Any]]:
    """Of the drafts, by episode; none of those whose labels this person must not know yet, not even how many."""
    ids = [row.id for row in rows]
    hidden = repository.blindly_labelled(db, ids, me.id)
    return {key: draft.segments for key, draft in repository.drafts_of(db, ids).items() if key not in hidden}


def _facts(row: EpisodeRow, segments: list[Any]) -> dict[str, Any]:
    names = {name for name in EpisodeOut.model_fields if name not in {"seconds", "segments"}}
    return {
        **{name: getattr(row, name) for name in names},
        "seconds": None if row.fps is None else row.steps / row.fps,
        "segments": sum(1 for segment in segments if segment["text"].strip()),
    }


def episode(db: Session, me: Actor, episode_id: str) -> EpisodeDetail:
    row = find(db, episode_id)
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    before, after = repository.neighbours(db, row)
    return EpisodeDetail(
        **_facts(row, _segments(db, me, [row]).get(row.id, [])),
        identity=row.identity,
        cameras=[CameraOut.model_validate(camera) for camera in row.cameras],
        action_dim=row.action_dim,
        state_dim=row.state_dim,
        dimension_names=dimension_names(row.robot, max(row.action_dim, row.state_dim)),
        gripper_dimensions=gripper_dimensions(row.robot, row.action_dim),
        sim=row.sim,
        render_profile=row.render_profile,
        original_name=row.original_name,
        dataset_name=dataset.name,
        vocabulary=dataset.vocabulary,
        previous_id=before,
        next_id=after,
    )


def find(db: Session, episode_id: str) -> EpisodeRow:
    row = repository.by_id(db, episode_id)
    if row is None:
        raise NotFoundError("There is no such episode; it may have been deleted.")
    return row


def file_of(studio: Studio, row: EpisodeRow) -> Path:
    path = studio.settings.folder.episode(row.dataset_id, row.id)
    if not path.is_file():
        raise NotFoundError(f"The file of episode {row.number} is gone; restore it from a backup.")
    return path


# --- what the page shows ----------------------------------------------------------------------------------------


def motion(db: Session, studio: Studio, episode_id: str, *, known: str | None) -> Response:
    row = find(db, episode_id)
    return _constant(row, "motion", "application/json", known, lambda: frames.motion(file_of(studio, row)))


def thumbnail(db: Session, studio: Studio, episode_id: str, *, known: str | None) -> Response:
    row = find(db, episode_id)
    cached = studio.settings.folder.cache / f"{row.identity}.jpg"

    def make() -> bytes:
        with suppress(FileNotFoundError):
            return cached.read_bytes()
        picture = frames.thumbnail(file_of(studio, row))
        with suppress(OSError), atomic_file(cached) as temporary:  # a full disk: it is made again the next time
            temporary.write_bytes(picture)
        return picture

    return _constant(row, "thumbnail", "image/jpeg", known, make)


def frame(db: Session, studio: Studio, episode_id: str, camera: str, step: int, *, known: str | None) -> Response:
    row = find(db, episode_id)
    names = [known["name"] for known in row.cameras]
    if camera not in names:
        raise NotFoundError(f"Episode {row.number} has no camera {camera}; it has {', '.join(names)}.")
    if not 0 <= step < row.steps:
        raise NotFoundError(f"Episode {row.number} has steps 0 to {row.steps - 1}; there is no step {step}.")

    def make() -> bytes:
        with open_episode(file_of(studio, row)) as opened:
            return frames.jpeg(opened, camera, step)

    return _constant(row, f"{camera}-{step}", "image/jpeg", known, make)


def pack(db: Session, studio: Studio, episode_id: str, wanted: frames.PackQuery, *, known: str | None) -> Response:
    row = find(db, episode_id)
    if wanted.start >= row.steps:
        raise NotFoundError(f"Episode {row.number} has steps 0 to {row.steps - 1}; there is no step {wanted.start}.")
    what = f"{wanted.start}-{wanted.count}-{wanted.stride}-{wanted.height}"
    return _constant(row, what, "application/octet-stream", known, lambda: frames.pack(file_of(studio, row), wanted))


def _constant(row: EpisodeRow, what: str, media_type: str, known: str | None, make: Callable[[], bytes]) -> Response:
    """An answer that is the same for good. known: the request's If-None-Match; what it names is not made again."""
    etag = f'"{row.identity[:32]}-{what}"'
    headers = {"Cache-Control": _FOREVER, "ETag": etag}
    if known is not None and etag in known:
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)


def download(db: Session, me: Actor, studio: Studio, episode_id: str) -> Response:
    """The file, with the newest published labels in it."""
    row = visible(db, me, episode_id, Tier.SUBSTEP, 0).row
    file_with_labels(studio, row)
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    plain = "".join(letter if letter.isalnum() else "-" for letter in dataset.name).strip("-") or "episode"
    return FileResponse(file_of(studio, row), media_type="application/x-hdf5", filename=f"{plain}-{row.number}.hdf5")


# --- coming and going -------------------------------------------------------------------------------------------


async def upload(studio: Studio, me: Actor, dataset_id: str, request: Request, *, name: str) -> UploadResult:
    """Receive the body as a file, look at it, list it. Whatever goes wrong, the upload is removed."""
    limit = studio.settings.max_upload_mb * 2**20
    declared = int(request.headers.get("content-length") or 0)
    await run_in_threadpool(_room_for, studio, dataset_id, declared, limit)
    path = studio.settings.folder.uploads / f"{new_id()}.hdf5"
    try:
        received = await _receive(request, path, limit)
        if not received:
            raise InvalidError("The upload was empty. Send the HDF5 file as the body of the request.")
        work = partial(_take_in, studio, me, dataset_id, path, name or "the file")
        return await _while_wanted(studio, request, work)
    except ClientDisconnect:
        raise InvalidError(GONE) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError("The disk became full during the upload. Nothing was kept; free some space.") from error
        raise
    finally:
        path.unlink(missing_ok=True)


async def _while_wanted(
    studio: Studio, request: Request, work: Callable[[threading.Event], UploadResult]
) -> UploadResult:
    """Run `work` in a thread; the event that it is given is set as soon as nobody waits for the answer any more, or
    whoever brought the file may bring none any more. Raises NotSignedInError then."""
    gone, ended = threading.Event(), False
    began, credential = time.monotonic(), credential_of(request)

    def may() -> bool:
        if credential is None or studio.directory.taken < began:  # that copy says nothing about now
            return True
        actor = studio.directory.known(credential)
        return actor is not None and actor.role.allows(Role.OPERATOR)

    async def watch() -> None:
        nonlocal ended
        while not ended and not await request.is_disconnected():
            ended = not may()
            await asyncio.sleep(0 if ended else _LOOK_SECONDS)
        gone.set()

    watching = asyncio.create_task(watch())
    try:
        return await run_in_threadpool(work, gone)
    except InvalidError as error:
        if ended and error.message == GONE:
            raise NotSignedInError("Your access ended while the file was looked at. Nothing was kept.") from None
        raise
    finally:
        gone.set()
        watching.cancel()


def _room_for(studio: Studio, dataset_id: str, declared: int, limit: int) -> None:
    studio.inspections.check()
    with studio.db.transaction(write=False) as db:
        if db.get(Dataset, dataset_id) is None:
            raise NotFoundError("There is no such dataset; it may have been deleted.")
    if declared > limit:
        raise InvalidError(
            f"The file has {declared / 2**20:.0f} MiB, at most {limit / 2**20:.0f} MiB may be uploaded "
            "(STUDIO_MAX_UPLOAD_MB); import it from a folder on the server instead."
        )
    if shutil.disk_usage(studio.settings.folder.uploads).free < 2 * declared + _SPARE_BYTES:
        raise DiskFullError(f"There is no room for {declared / 2**20:.0f} MiB. Free some space and try again.")


async def _receive(request: Request, path: Path, limit: int) -> int:
    """Write the body to `path`; returns its length, bytes."""
    received = 0
    with path.open("xb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise InvalidError(f"The file is larger than {limit / 2**20:.0f} MiB (STUDIO_MAX_UPLOAD_MB).")
            await run_in_threadpool(file.write, chunk)
    return received


def _take_in(studio: Studio, me: Actor, dataset_id: str, path: Path, name: str, gone: threading.Event) -> UploadResult:
    with studio.inspections.turn(gone):
        accepted = accept(
            studio,
            dataset_id=dataset_id,
            file=path,
            source=EpisodeSource.UPLOADED,
            original_name=name,
            created_by=me.id,
            keep_labels=True,
            stop=gone,
        )
    with studio.db.transaction(write=False) as db:
        row = find(db, accepted.episode_id)
        return UploadResult(episode=outs(db, me, [row])[0], warnings=accepted.warnings)


def delete_episode(db: Session, me: Actor, studio: Studio, episode_id: str) -> None:
    row = find(db, episode_id)
    db.get(Dataset, row.dataset_id, with_for_update=True)  # nobody makes a version of it meanwhile
    versions = db.scalars(select(DatasetVersion).where(DatasetVersion.dataset_id == row.dataset_id))
    used = [version.number for version in versions if episode_id in version.episode_ids]
    if used:
        raise ConflictError(
            f"Episode {row.number} is part of version {', '.join(map(str, sorted(used)))}, which must stay as it is. "
            "Leave the episode out of the next version instead."
        )
    row.deleted_at = utc_now()
    record(db, me, "episode.delete", row.id, dataset=row.dataset_id, number=row.number)
    path = studio.settings.folder.episode(row.dataset_id, row.id)
    publish_after_commit(db, studio, "dataset", row.dataset_id)
    publish_after_commit(db, studio, "episode", row.id)
    remove_after_commit(db, f"Episode {row.number}", [path])
