"""An answer as what it is made of, bytes and stretches of files: the application says it to the gateway, which has the
kernel send the files.

A piece begins with its size, the offset in its file and the length of the file's name, in bytes; the name follows, or
without one the bytes themselves. The gateway asks for it with the header `ASKED`; the answer tells in the same header
how many bytes whoever asked gets.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ASKED = b"x-studio-pieces"
_HEAD = struct.Struct("!QQH")
_TOGETHER = 1 << 16  # bytes that are handed on at once


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """`size` bytes of a file from `offset` on."""

    file: Path
    offset: int
    size: int


Piece = bytes | Stretch


def size_of(piece: Piece) -> int:
    return piece.size if isinstance(piece, Stretch) else len(piece)


def written(pieces: Iterable[Piece]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        if isinstance(piece, Stretch):
            name = os.fsencode(piece.file)
            held += _HEAD.pack(piece.size, piece.offset, len(name)) + name
        else:
            held += _HEAD.pack(len(piece), 0, 0) + piece
        if len(held) >= _TOGETHER:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class Reading:
    """`written` the other way, as it comes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Piece]:
        self._held += data
        found: list[Piece] = []
        begin = 0
        while len(self._held) >= begin + _HEAD.size:
            size, offset, name = _HEAD.unpack_from(self._held, begin)
            first = begin + _HEAD.size
            end = first + (name or size)
            if len(self._held) < end:
                break
            said = bytes(self._held[first:end])
            found.append(Stretch(file=Path(os.fsdecode(said)), offset=offset, size=size) if name else said)
            begin = end
        del self._held[:begin]
        return found
