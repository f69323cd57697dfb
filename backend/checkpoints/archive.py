"""Downloads that can be resumed: byte ranges over files, and over a tar archive that exists only while it is sent.

The archive is an uncompressed tar (GNU format) of one folder. Every byte of it follows from the folder's name, the
files and one time, so that any range can be made at any moment and its sha256 never changes.
"""

import base64
import hashlib
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from backend.core.errors import ConflictError

_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a download: bytes in memory, or `size` bytes of a file."""

    size: int
    data: bytes = b""
    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is sent: parts one after the other. sha256 (hex) of all of it."""

    name: str
    parts: tuple[Part, ...]
    sha256: str
    media_type: str

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes start .. end - 1. OSError if a file has vanished or shrunk meanwhile: the transfer breaks off."""
        position = 0
        for part in self.parts:
            first, last = max(start - position, 0), min(end - position, part.size)
            position += part.size
            if first >= last:
                continue
            if part.file is None:
                yield part.data[first:last]
                continue
            with part.file.open("rb") as file:
                file.seek(first)
                left = last - first
                while left:
                    block = file.read(min(left, _CHUNK))
                    if not block:
                        raise OSError(f"{part.file}: shorter than {part.size} bytes")
                    left -= len(block)
                    yield block


def tar_parts(folder: str, files: list[tuple[str, Path, int]], *, mtime: int) -> tuple[Part, ...]:
    """A tar archive of `folder` with files (name, place, size), all with the same time (seconds since 1970)."""

    def header(name: str, *, size: int = 0, directory: bool = False) -> Part:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
        entry.mode = 0o755 if directory else 0o644
        entry.size, entry.mtime = size, mtime
        data = entry.tobuf(tarfile.GNU_FORMAT)
        return Part(size=len(data), data=data)

    parts = [header(folder, directory=True)]
    for name, place, size in files:
        padding = -size % tarfile.BLOCKSIZE
        parts += [header(f"{folder}/{name}", size=size), Part(size=size, file=place)]
        parts.append(Part(size=padding, data=bytes(padding)))
    written = sum(part.size for part in parts) + 2 * tarfile.BLOCKSIZE
    end = 2 * tarfile.BLOCKSIZE + -written % tarfile.RECORDSIZE
    return (*parts, Part(size=end, data=bytes(end)))


def sha256_of(parts: tuple[Part, ...]) -> str:
    """Of the whole download; reads every byte of it."""
    digest = hashlib.sha256()
    size = sum(part.size for part in parts)
    for block in Content(name="", parts=parts, sha256="", media_type="").read(0, size):
        digest.update(block)
    return digest.hexdigest()


def respond(request: Request, content: Content) -> Response:
    """Whole (200), a range of it (206), nothing new (304) or a range beyond its end (416).

    Several ranges at once are answered with all of it, as HTTP allows. If-Range with another ETag than this one's gets
    all of it too: the file on the other side is of another version.
    """
    for part in content.parts:
        if part.file is not None and (not part.file.is_file() or part.file.stat().st_size != part.size):
            raise ConflictError(f"{part.file.name} is gone from the data folder, or is not what was saved there.")
    etag = f'"{content.sha256}"'
    digest = base64.b64encode(bytes.fromhex(content.sha256)).decode()
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{content.name}"',
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    if etag in _listed(request.headers.get("If-None-Match", "")):
        return Response(status_code=304, headers=headers)
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
    return StreamingResponse(content.read(start, end), status_code=status, headers=sized, media_type=content.media_type)


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
