"""A file with changes that are kept in memory: HDF5 writes into it, the file on the disk stays as it is."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PAGE = 2**14  # bytes; HDF5 changes a few places at the front and adds what is new at the end


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """`size` bytes of the whole: `data`, or where that is None those of the file from `offset` on."""

    size: int
    offset: int = 0
    data: bytes | None = None


class Overlay(io.RawIOBase):
    """Reads and writes like the file that it lies over. Only what is written takes memory, in pages of PAGE bytes."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._size = self._kept = os.fstat(file.fileno()).st_size  # kept: bytes of the file that still count
        self._pages: dict[int, bytearray] = {}
        self._position = 0

    # what h5py asks a file object for, beside what RawIOBase makes of it

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < length:
            number, at = divmod(self._position, PAGE)
            if number in self._pages:
                part: bytes | bytearray = self._pages[number][at : at + length - done]
            else:  # up to the next page that was written to
                end = number + 1
                while end * PAGE < self._position + length - done and end not in self._pages:
                    end += 1
                part = self._below(self._position, min(end * PAGE - self._position, length - done))
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return length

    def write(self, data: "ReadableBuffer") -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            number, at = divmod(self._position, PAGE)
            if number not in self._pages:
                self._pages[number] = bytearray(self._below(number * PAGE, PAGE))
            part = view[done : done + PAGE - at]
            self._pages[number][at : at + len(part)] = part
            done += len(part)
            self._position += len(part)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        self._kept = min(self._kept, size)
        self._pages = {number: page for number, page in self._pages.items() if number * PAGE < size}
        if (last := self._pages.get(size // PAGE)) is not None:  # what comes later begins with zeros
            last[size % PAGE :] = bytes(PAGE - size % PAGE)
        self._size = size
        return size

    def _below(self, start: int, length: int) -> bytes:
        """Bytes of the file itself; zeros beyond what still counts of it."""
        self._file.seek(start)
        found = self._file.read(max(0, min(length, self._kept - start)))
        return found.ljust(length, b"\0")

    def stretches(self) -> Iterator[Stretch]:
        """All of it, in order: what was written as bytes, the rest as places in the file."""
        position = 0
        for number in sorted(self._pages):
            start = number * PAGE
            yield from self._untouched(position, start)
            position = min(start + PAGE, self._size)
            if position > start:
                yield Stretch(size=position - start, data=bytes(self._pages[number][: position - start]))
        yield from self._untouched(position, self._size)

    def _untouched(self, start: int, end: int) -> Iterator[Stretch]:
        there = max(start, min(end, self._kept))
        if there > start:
            yield Stretch(size=there - start, offset=start)
        if end > there:
            yield Stretch(size=end - there, data=bytes(end - there))
