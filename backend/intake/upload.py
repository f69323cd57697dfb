"""Uploads: received as a file, looked at, listed."""

import asyncio
import errno
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from backend.core.db import new_id
from backend.core.errors import DiskFullError, InvalidError, NotFoundError, NotSignedInError
from backend.core.roles import Role
from backend.core.turns import GONE
from backend.episodes.schemas import UploadResult
from backend.episodes.service import find, outs
from backend.identity.actor import Actor
from backend.intake.accept import accept
from backend.studio.context import Studio
from backend.studio.directory import credential_of
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeSource

_SPARE_BYTES = 64 * 2**20
_LOOK_SECONDS = 0.2  # between two looks at whether the client is still there

T = TypeVar("T")


async def upload(
    studio: Studio, me: Actor, dataset_id: str, request: Request, *, name: str, instruction: str = ""
) -> UploadResult:
    """Receive the body as a file, look at it, list it. Whatever goes wrong, the upload is removed.

    instruction: for a file that has none.
    """
    _refuse_form(request, dataset_id)
    limit = studio.settings.max_upload_mb * 2**20
    declared = int(request.headers.get("content-length") or 0)
    await run_in_threadpool(_room_for, studio, dataset_id, declared, limit)
    path = studio.settings.folder.uploads / f"{new_id()}.hdf5"
    try:
        received = await _receive(request, path, limit)
        if not received:
            raise InvalidError("The upload was empty. Send the HDF5 file as the body of the request.")
        work = partial(_take_in, studio, me, dataset_id, path, name or "the file", instruction)
        return await while_wanted(studio, request, work)
    except ClientDisconnect:
        raise InvalidError(GONE) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError("The disk became full during the upload. Nothing was kept; free some space.") from error
        raise
    finally:
        path.unlink(missing_ok=True)


def _refuse_form(request: Request, dataset_id: str) -> None:
    """Before gigabytes are received: what a form sends is the file with a wrapping, which is no HDF5 file."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise InvalidError(
            f"The upload came as a form ({kind}). Send the file itself as the body of the request, for example: curl "
            f"--data-binary @episode.hdf5 -H 'Content-Type: application/octet-stream' "
            f"'.../api/datasets/{dataset_id}/episodes?name=episode.hdf5'"
        )


async def while_wanted(studio: Studio, request: Request, work: Callable[[threading.Event], T]) -> T:
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


def _take_in(
    studio: Studio, me: Actor, dataset_id: str, path: Path, name: str, instruction: str, gone: threading.Event
) -> UploadResult:
    with studio.inspections.turn(gone):
        accepted = accept(
            studio,
            dataset_id=dataset_id,
            file=path,
            source=EpisodeSource.UPLOADED,
            original_name=name,
            created_by=me.id,
            keep_labels=True,
            instruction=instruction,
            stop=gone,
        )
    with studio.db.transaction(write=False) as db:
        row = find(db, accepted.episode_id)
        return UploadResult(episode=outs(db, me, [row])[0], warnings=accepted.warnings)
