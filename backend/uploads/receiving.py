"""Pieces of files as tus sends them: one request's bytes behind those that are there."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from backend.access.dependencies import require_space
from backend.core.errors import InvalidError, NotFoundError
from backend.core.turns import GONE
from backend.identity.actor import Actor
from backend.studio.context import Studio
from backend.tables.upload import UploadedFile, UploadState
from backend.uploads import service, tus
from backend.uploads.staged import MovedError, Staged, open_staged, size_of

_WRITE_BYTES = 2**20  # that are gathered before they are written
_CANCELLED = "{name} was cancelled meanwhile; nothing of it was kept."


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file of which more may come. path: where its bytes lie. there: how many."""

    id: str
    name: str
    path: Path
    size: int
    there: int


def offset_of(studio: Studio, me: Actor, file_id: str) -> dict[str, str]:
    """The headers of tus's answer to HEAD. Raises NotFoundError, ForbiddenError, ExpiredError."""
    row, there, headers = _looked_up(studio, me, file_id)
    return {**headers, **tus.answer_headers(offset=there, size=row.size), "Cache-Control": "no-store"}


def _looked_up(studio: Studio, me: Actor, file_id: str) -> tuple[UploadedFile, int, dict[str, str]]:
    """The row, how many bytes of it are there, and when it is forgotten as a header."""
    with studio.db.transaction(write=False) as db:
        upload, row = service.found_file(db, file_id)
    service.refuse_stranger(me, upload)
    if row.state is not UploadState.UPLOADING:
        return row, row.size, tus.answer_headers(expires=service.expires_at(studio, upload))
    if service.is_over_time(studio, upload):
        raise tus.ExpiredError(f"The time for {row.path} is over; send it again from its beginning.")
    there = min(size_of(_path(studio, row)), row.size)
    if there != row.received or there == row.size:  # somebody was killed between the bytes and their row
        with studio.db.transaction() as db:
            row = service.note_received(db, studio, file_id, there) or row
    return row, there, tus.answer_headers(expires=service.expires_at(studio, upload))


def _path(studio: Studio, row: UploadedFile) -> Path:
    return studio.settings.folder.staged(row.upload_id) / row.id


async def receive(studio: Studio, me: Actor, request: Request, file_id: str) -> dict[str, str]:
    """One PATCH of tus; the headers of its answer. What arrived before a connection broke is kept, except of a piece
    with a checksum, which is taken whole or not at all.

    Raises the protocol's errors, NotFoundError, ForbiddenError, DiskFullError.
    """
    tus.require_version(request.headers)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != tus.PIECE_TYPE:
        raise tus.MediaTypeError(
            f"The piece came as {kind or 'nothing'}; send the bytes themselves as the body, as {tus.PIECE_TYPE}, with "
            "the headers Tus-Resumable and Upload-Offset."
        )
    offset, checksum = tus.number(request.headers, "Upload-Offset"), tus.checksum(request.headers)
    target, headers = await run_in_threadpool(_opened, studio, me, file_id, offset)
    declared = request.headers.get("content-length")
    if declared is not None and offset + int(declared) > target.size:
        raise _too_much(target)
    try:
        with open_staged(target.path) as staged:
            try:
                there = await _take(request, target, staged, offset, checksum)
            finally:
                await run_in_threadpool(_settle, studio, target, staged)
    except MovedError as error:
        raise _elsewhere(target, offset, error.there) from None
    except FileNotFoundError:
        raise NotFoundError(_CANCELLED.format(name=target.name)) from None
    except ClientDisconnect:
        raise InvalidError(GONE) from None
    return {**headers, **tus.answer_headers(offset=there)}


def _opened(studio: Studio, me: Actor, file_id: str, offset: int) -> tuple[Target, dict[str, str]]:
    require_space(studio)
    row, there, headers = _looked_up(studio, me, file_id)
    target = Target(id=row.id, name=row.path, path=_path(studio, row), size=row.size, there=there)
    if row.state is not UploadState.UPLOADING:
        raise tus.OffsetError(row.size, f"{row.path} is there as a whole, nothing more of it is taken.")
    if there != offset:
        raise _elsewhere(target, offset, there)
    target.path.parent.mkdir(parents=True, exist_ok=True)  # after a restore, which brings no half uploads
    return target, headers


async def _take(request: Request, target: Target, staged: Staged, offset: int, checksum: tus.Checksum | None) -> int:
    """Write the body behind `offset`; returns where it ends."""
    waiting = bytearray()
    there = offset
    try:
        async for chunk in request.stream():
            waiting += chunk
            if there + len(waiting) > target.size:
                raise _too_much(target)
            if checksum is not None:
                if len(waiting) > tus.PIECE_BYTES:
                    raise tus.TooLargeError(
                        f"A piece with a checksum may have {tus.PIECE_BYTES} bytes; send smaller ones. Nothing of it "
                        "was kept."
                    )
            elif len(waiting) >= _WRITE_BYTES:
                there = await run_in_threadpool(staged.append, there, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        if checksum is None and waiting:
            await run_in_threadpool(staged.append, there, bytes(waiting))
        raise
    if checksum is not None:
        await run_in_threadpool(checksum.compare, bytes(waiting))
    if waiting:
        there = await run_in_threadpool(staged.append, there, bytes(waiting))
    return there


def _settle(studio: Studio, target: Target, staged: Staged) -> None:
    """What is there is on the disk before anybody is told so, and before its row says that it is whole."""
    staged.sync()
    with studio.db.transaction() as db:
        row = service.note_received(db, studio, target.id, staged.size)
    if row is None:
        raise NotFoundError(_CANCELLED.format(name=target.name))


def _too_much(target: Target) -> tus.TooLargeError:
    return tus.TooLargeError(
        f"{target.name} was announced with {target.size} bytes, and this piece goes beyond them. What was announced is "
        "what is taken; cancel it and announce it anew if it has grown."
    )


def _elsewhere(target: Target, offset: int, there: int) -> tus.OffsetError:
    return tus.OffsetError(there, f"The studio has {there} bytes of {target.name}, not {offset}; go on from there.")
