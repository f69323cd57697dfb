"""The words of the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload): headers in, headers out.

The core, and the extensions creation, checksum, expiration and termination.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from backend.core.errors import ApiError, ConflictError

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
ALGORITHMS = ("sha256", "sha1")
PIECE_TYPE = "application/offset+octet-stream"
PIECE_BYTES = 32 * 2**20  # at most, of a piece with a checksum: it is held in memory until that was compared
MAX_INTEGER = 2**62
MAX_METADATA = 8192  # characters
_RESUMABLE = {"Tus-Resumable": VERSION}


class TusError(ApiError):
    """What the protocol has a status for; its header is on every one."""

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers={**_RESUMABLE, **(headers or {})})


class HeaderError(TusError):
    status, code = 400, "bad_request"


class VersionError(TusError):
    status, code = 412, "wrong_version"


class MediaTypeError(TusError):
    status, code = 415, "wrong_type"


class TooLargeError(TusError):
    status, code = 413, "too_large"


class ExpiredError(TusError):
    status, code = 410, "expired"


class ChecksumError(TusError):
    status, code = 460, "checksum_mismatch"


class OffsetError(ConflictError):
    """The detail and the header say where to go on."""

    def __init__(self, there: int, message: str) -> None:
        super().__init__(message, detail={"offset": there}, headers={**_RESUMABLE, "Upload-Offset": str(there)})


def require_version(headers: Mapping[str, str]) -> None:
    """Raises VersionError."""
    given = headers.get("tus-resumable")
    if given != VERSION:
        found = "is missing" if given is None else f"is {given[:20]!r}"
        raise VersionError(
            f"The header Tus-Resumable {found}; expected {VERSION} (https://tus.io).", headers={"Tus-Version": VERSION}
        )


def answer_headers(
    *, offset: int | None = None, size: int | None = None, expires: datetime | None = None
) -> dict[str, str]:
    headers = dict(_RESUMABLE)
    if offset is not None:
        headers["Upload-Offset"] = str(offset)
    if size is not None:
        headers["Upload-Length"] = str(size)
    if expires is not None:
        headers["Upload-Expires"] = format_datetime(expires, usegmt=True)
    return headers


def number(headers: Mapping[str, str], name: str) -> int:
    """Bytes that a header names. Raises HeaderError."""
    text = headers.get(name.lower())
    if text is None:
        raise HeaderError(f"The header {name} is missing; expected a number of bytes.")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < MAX_INTEGER):
        raise HeaderError(f"The header {name} is {text[:40]!r}; expected a number of bytes.")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Checksum:
    algorithm: str
    digest: bytes

    def compare(self, piece: bytes) -> None:
        """Raises ChecksumError."""
        if hashlib.new(self.algorithm, piece, usedforsecurity=False).digest() != self.digest:
            raise ChecksumError(
                f"The {len(piece)} bytes of this piece are not what was sent: their {self.algorithm} is another one. "
                "Nothing of the piece was kept; send it again."
            )


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    """Upload-Checksum: `sha256 <base64>`. Raises HeaderError."""
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise HeaderError(f"Upload-Checksum names {algorithm[:20]!r}; expected one of {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise HeaderError(f"Upload-Checksum holds no {algorithm} in Base64.")
    return Checksum(algorithm=algorithm, digest=digest)


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Upload-Metadata: `name <base64>,name <base64>`. Raises HeaderError."""
    text = headers.get("upload-metadata", "")
    if len(text) > MAX_METADATA:
        raise HeaderError(f"Upload-Metadata has {len(text)} characters; at most {MAX_METADATA} are taken.")
    found = {}
    for pair in filter(None, (one.strip() for one in text.split(","))):
        name, _, encoded = pair.partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise HeaderError(f"Upload-Metadata: the value of {name[:40]!r} is no UTF-8 text in Base64.") from None
        if "\0" in value:
            raise HeaderError(f"Upload-Metadata: the value of {name[:40]!r} holds the character NUL.")
        found[name] = value
    return found
