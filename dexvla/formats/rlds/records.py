"""tfrecord files: records one behind the other, each with its length and both with a CRC32C.

uint64 length | uint32 masked CRC of it | the record | uint32 masked CRC of it        (little endian)
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dexvla.formats.base import FormatError
from dexvla.formats.sources import package

MAX_RECORD = 2**30  # bytes that are read at once: one episode
MOST_RECORDS = 1_000_000  # of one file
_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")
_GZIP, _ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


@dataclass(frozen=True)
class Shard:
    """offsets: where each whole record begins. broken: why there are no more, where the file goes on; else empty."""

    path: Path
    offsets: tuple[int, ...]
    broken: str = ""


def look_through(path: Path) -> Shard:
    """Find the records of a file by their lengths alone: nothing else is read."""
    size, offset = path.stat().st_size, 0
    offsets: list[int] = []
    with path.open("rb") as file:
        while offset < size:
            length, why = _length(file, offset, size)
            if why:
                return Shard(path, tuple(offsets), why)
            if len(offsets) == MOST_RECORDS:
                return Shard(path, tuple(offsets), f"more than {MOST_RECORDS} records; expected one an episode")
            offsets.append(offset)
            offset += _HEAD.size + length + _FOOT.size
    return Shard(path, tuple(offsets))


def read_record(path: Path, offset: int) -> bytes:
    """The record that begins at `offset`. Raises FormatError for one that is not whole, or of another CRC."""
    with path.open("rb") as file:
        length, why = _length(file, offset, path.stat().st_size)
        if why:
            raise FormatError(f"{path}: {why}")
        if length > MAX_RECORD:
            raise FormatError(f"{path}: the record at byte {offset} has {length} bytes, at most {MAX_RECORD} are read")
        record = file.read(length)
        foot = file.read(_FOOT.size)
    if len(record) != length or len(foot) != _FOOT.size:
        raise FormatError(f"{path}: became shorter while it was read; try again")
    found, expected = masked(package("google_crc32c").value(record)), _FOOT.unpack(foot)[0]
    if found != expected:
        raise FormatError(
            f"{path}: the record at byte {offset} has CRC32C {found:08x}, expected {expected:08x}: damaged, copy the "
            "file again"
        )
    return record


def _length(file: BinaryIO, offset: int, size: int) -> tuple[int, str]:
    """Of the record at `offset`, and why there is none."""
    file.seek(offset)
    head = file.read(_HEAD.size)
    if head.startswith(_GZIP) or (offset == 0 and head[:2] in _ZLIB and _bad(head)):
        return 0, "compressed as a whole; expected plain records, unpack it first"
    if len(head) < _HEAD.size:
        return 0, f"ends within the record at byte {offset}; copy the file again"
    if _bad(head):
        return (
            0,
            f"the length of the record at byte {offset} has another CRC32C than is written beside it: damaged, or "
            "not a tfrecord file; copy it again",
        )
    length = int(_HEAD.unpack(head)[0])
    if offset + _HEAD.size + length + _FOOT.size > size:
        return 0, f"the record at byte {offset} claims {length} bytes, the file ends before; copy it again"
    return length, ""


def _bad(head: bytes) -> bool:
    return len(head) < _HEAD.size or masked(package("google_crc32c").value(head[:8])) != _HEAD.unpack(head)[1]


def masked(crc: int) -> int:
    """As tfrecord stores it: turned by 15 bits and moved, so that a CRC of CRCs is no trivial one."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_record(file: BinaryIO, parts: Iterable[bytes], length: int) -> int:
    """Write a record that comes in parts, `length` bytes together; returns the bytes that it takes in the file."""
    crc32c = package("google_crc32c")
    head = struct.pack("<Q", length)
    file.write(head + _FOOT.pack(masked(crc32c.value(head))))
    crc = written = 0
    for part in parts:
        file.write(part)
        crc = crc32c.extend(crc, part)
        written += len(part)
    assert written == length
    file.write(_FOOT.pack(masked(crc)))
    return _HEAD.size + length + _FOOT.size
