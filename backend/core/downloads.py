"""Downloads that can be resumed: byte ranges over stretches of files and of memory."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.core.pieces import ASKED, Piece, Stretch, written
from backend.core.settings import Settings

_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a download: bytes in memory, `size` bytes of a file from `offset` on, or what `read` gives of itself
    for a range."""

    size: int
    data: bytes = b""
    file: Path | None = None
    offset: int = 0
    read: Callable[[int, int], Iterator[bytes]] | None = None

    @property
    def is_file(self) -> bool:
        return self.file is not None or self.read is not None


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is sent: parts one after the other. tag: another one for other bytes. sha256: hex, of all, where it is
    known."""

    name: str
    parts: tuple[Part, ...]
    tag: str
    media_type: str
    sha256: str | None = None

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """What bytes start .. end - 1 are made of."""
        position = 0
        for part in self.parts:
            first, last = max(start - position, 0), min(end - position, part.size)
            position += part.size
            if first >= last:
                continue
            if part.read is not None:
                yield from part.read(first, last)
            elif part.file is None:
                yield part.data[first:last]
            else:
                yield Stretch(file=part.file, offset=part.offset + first, size=last - first)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes start .. end - 1. OSError if a file has vanished or shrunk meanwhile: the transfer breaks off."""
        with ExitStack() as stack:
            place, file = None, None  # stays open over parts of one file: it may be deleted meanwhile
            for piece in self.pieces(start, end):
                if not isinstance(piece, Stretch):
                    yield piece
                    continue
                if file is None or place != piece.file:
                    stack.close()
                    place, file = piece.file, stack.enter_context(piece.file.open("rb"))
                file.seek(piece.offset)
                left = piece.size
                while left:
                    block = file.read(min(left, _CHUNK))
                    if not block:
                        raise OSError(f"{piece.file}: shorter than {piece.offset + piece.size} bytes")
                    left -= len(block)
                    yield block


def respond(request: Request, content: Content, settings: Settings) -> Response:
    """Whole (200), a range of it (206), nothing new (304) or a range beyond its end (416).

    Several ranges at once are answered with all of it, as HTTP allows. If-Range with another ETag than this one's gets
    all of it too: the file on the other side is of another version. Where nginx in front says that it sends files
    itself (STUDIO_ACCEL_REDIRECT), it is told which one, and sees to ranges itself.
    """
    etag = f'"{content.tag}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _disposition(content.name),
    }
    if content.sha256 is not None:
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(content.sha256)).decode()}:"
    if etag in _listed(request.headers.get("If-None-Match", "")):
        return Response(status_code=304, headers=headers)
    if (place := _accelerated(request, content, settings)) is not None:
        return Response(headers={**headers, "X-Accel-Redirect": place}, media_type=content.media_type)
    asked = request.headers.get("Range")
    if asked is not None and request.headers.get("If-Range", etag) == etag:
        found = _RANGE.fullmatch(asked.strip())
        if found is not None and found.groups() != ("", ""):
            bounds = _bounds(*found.groups(), size=content.size)
            if bounds is None:
                size = {"Content-Range": f"bytes */{content.size}"}
                return Response(status_code=416, headers={**headers, **size})
            start, end = bounds
            where = {"Content-Range": f"bytes {start}-{end - 1}/{content.size}"}
            return _send(request, content, start, end, 206, {**headers, **where})
    return _send(request, content, 0, content.size, 200, headers)


def _send(
    request: Request, content: Content, start: int, end: int, status: int, headers: Mapping[str, str]
) -> Response:
    sized = {**headers, "Content-Length": str(end - start)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=sized, media_type=content.media_type)
    if ASKED.decode() not in request.headers:
        sent = content.read(start, end)
        return StreamingResponse(sent, status_code=status, headers=sized, media_type=content.media_type)
    told = {**headers, ASKED.decode(): sized["Content-Length"]}
    pieces = written(content.pieces(start, end))
    return StreamingResponse(pieces, status_code=status, headers=told, media_type=content.media_type)


def _accelerated(request: Request, content: Content, settings: Settings) -> str | None:
    """Where nginx finds the content, if it is a whole file of the data folder and whoever asked came through nginx."""
    if settings.accel_redirect is None or request.headers.get("X-Sendfile-Type") != "X-Accel-Redirect":
        return None
    match content.parts:
        case (Part(file=Path() as file, offset=0, size=size),) if file.is_relative_to(settings.data):
            if file.stat().st_size == size:
                return f"{settings.accel_redirect}/{quote(file.relative_to(settings.data).as_posix())}"
    return None


def _disposition(name: str) -> str:
    plain = quote(name)
    return f'attachment; filename="{name}"' if plain == name else f"attachment; filename*=utf-8''{plain}"


def _bounds(first: str, last: str, *, size: int) -> tuple[int, int] | None:
    """start, end of `bytes=first-last`; None if nothing of it is there."""
    if len(first) > 18 or len(last) > 18:
        return None
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else None
    start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None


def _listed(text: str) -> set[str]:
    return {one.strip().removeprefix("W/") for one in text.split(",")}
