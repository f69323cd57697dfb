"""tf.train.Example and SequenceExample, the protobuf messages that tfrecord files hold.

    Example { Features features = 1 }               Features { map<string, Feature> feature = 1 }
    SequenceExample { Features context = 1; FeatureLists { map<string, FeatureList { Feature feature = 1 }> = 1 } = 2 }
    Feature { BytesList bytes_list = 1 | FloatList float_list = 2 | Int64List int64_list = 3 }     each { value = 1 }

Where protobuf's own library makes objects of all of a message, 8 bytes of 1 and of depth maps that nobody wants, this
finds where each feature lies, and makes numbers of those that are asked for. The messages are three levels deep and
have no more kinds than these, so nothing here goes deeper.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds

BYTES, FLOATS, INTEGERS = 1, 2, 3
_VARINT, _FIXED64, _BLOCK, _FIXED32 = 0, 1, 2, 5
_MOST_FEATURES = 10_000
_MOST_BLOBS = 2**22
_LONGEST = 10  # bytes of a varint


@dataclass(frozen=True)
class Feature:
    """kind: BYTES, FLOATS or INTEGERS. lists: one; of a SequenceExample one a step. Nothing is decoded yet."""

    kind: int
    lists: tuple[memoryview, ...]

    def numbers(self) -> NDArray[np.float32] | NDArray[np.int64]:
        """All of them, flat. Raises ValueError for texts, damage, and for more than an episode may hold."""
        if self.kind == BYTES:
            raise ValueError("bytes, expected numbers")
        parts: list[NDArray[np.float32] | NDArray[np.int64]] = []
        total = 0
        for values in self.lists:
            for part in _floats(values) if self.kind == FLOATS else _integers(values):
                total += part.size
                if total > bounds.MAX_VALUES or len(parts) > _MOST_BLOBS:
                    raise ValueError(f"more than {bounds.MAX_VALUES} numbers")
                parts.append(part)
        kind = np.dtype(np.float32) if self.kind == FLOATS else np.dtype(np.int64)
        found: NDArray[Any] = np.concatenate([np.zeros(0, kind), *parts])
        return found

    def blobs(self) -> list[memoryview]:
        """Raises ValueError for numbers and damage."""
        if self.kind != BYTES:
            raise ValueError("numbers, expected bytes")
        found: list[memoryview] = []
        for values in self.lists:
            for number, kind, value in _fields(values):
                if number == 1 and kind == _BLOCK:
                    found.append(value)
                    if len(found) > _MOST_BLOBS:
                        raise ValueError(f"more than {_MOST_BLOBS} values")
        return found


def features_of(record: bytes) -> dict[str, Feature]:
    """By name. Raises ValueError for what is no such message."""
    found: dict[str, Feature] = {}
    for number, kind, value in _fields(memoryview(record)):
        if kind != _BLOCK or number not in (1, 2):
            continue
        for inner, inner_kind, entry in _fields(value):
            if inner != 1 or inner_kind != _BLOCK:
                continue
            name, content = _entry(entry)
            feature = _feature((content,)) if number == 1 else _feature(_blocks(content))
            if feature is not None:
                found[name] = feature
            if len(found) > _MOST_FEATURES:
                raise ValueError(f"more than {_MOST_FEATURES} features")
    return found


def _entry(entry: memoryview) -> tuple[str, memoryview]:
    name, content = "", memoryview(b"")
    for number, kind, value in _fields(entry):
        if kind == _BLOCK and number == 1:
            if len(value) > bounds.MAX_WORD:
                raise ValueError(f"a feature whose name has {len(value)} bytes")
            name = bytes(value).decode("utf-8")
        elif kind == _BLOCK and number == 2:
            content = value
    return name, content


def _blocks(values: memoryview) -> list[memoryview]:
    return [value for number, kind, value in _fields(values) if number == 1 and kind == _BLOCK]


def _feature(messages: Iterable[memoryview]) -> Feature | None:
    """None for one that holds nothing."""
    kinds, lists = set(), []
    for message in messages:
        last = None
        for number, kind, value in _fields(message):
            if kind == _BLOCK and number in (BYTES, FLOATS, INTEGERS):
                last = number, value
        if last is not None:
            kinds.add(last[0])
            lists.append(last[1])
            if len(lists) > bounds.MAX_STEPS:
                raise ValueError(f"more than {bounds.MAX_STEPS} steps")
    if len(kinds) > 1:
        raise ValueError("a feature of several kinds")
    return Feature(kinds.pop(), tuple(lists)) if kinds else None


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(number, kind, content) of each field; of a number its bytes."""
    at, size = 0, len(message)
    while at < size:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _BLOCK:
            length, at = _varint(message, at)
        elif kind == _VARINT:
            length = _varint(message, at)[1] - at
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of kind {kind}, which no tf.train.Example has")
        if not number or length > size - at:
            raise ValueError(f"a field of {length} bytes where {size - at} are left")
        yield number, kind, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + _LONGEST, len(message))):
        value |= (message[place] & 0x7F) << shift
        if message[place] < 0x80:
            return value, place + 1
        shift += 7
    raise ValueError("a number that does not end")


def _floats(values: memoryview) -> Iterator[NDArray[np.float32]]:
    for number, kind, value in _fields(values):
        if number != 1:
            continue
        if kind not in (_BLOCK, _FIXED32) or len(value) % 4:
            raise ValueError(f"float numbers in {len(value)} bytes")
        yield np.frombuffer(value, "<f4")


def _integers(values: memoryview) -> Iterator[NDArray[np.int64]]:
    for number, kind, value in _fields(values):
        if number != 1:
            continue
        if kind not in (_BLOCK, _VARINT):
            raise ValueError("no whole numbers where they were declared")
        if len(value):
            yield _varints(np.frombuffer(value, np.uint8))


def _varints(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    if len(data) > _LONGEST * bounds.MAX_VALUES:
        raise ValueError(f"more than {bounds.MAX_VALUES} numbers")
    ends = np.flatnonzero(data < 0x80)
    if not len(ends) or ends[-1] != len(data) - 1 or len(ends) > bounds.MAX_VALUES:
        raise ValueError("whole numbers that do not end, or too many of them")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("a whole number of more than 64 bits")
    found = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        there = lengths > place
        bits = (data[starts[there] + place] & 0x7F).astype(np.uint64)
        found[there] |= bits << np.uint64(7 * place)
    return found.view(np.int64)


# --- out --------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    made = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def block(number: int, content: bytes) -> bytes:
    """A field with its content."""
    return opening(number, len(content)) + content


def opening(number: int, length: int) -> bytes:
    """Of a field whose content of `length` bytes follows."""
    return varint(number << 3 | _BLOCK) + varint(length)


def floats(values: NDArray[np.float32]) -> bytes:
    """A Feature."""
    return block(FLOATS, block(1, np.ascontiguousarray(values, "<f4").tobytes()))


def integers(values: NDArray[np.int64]) -> bytes:
    """A Feature."""
    return block(INTEGERS, block(1, b"".join(varint(int(value)) for value in values.reshape(-1))))


def texts(values: Iterable[bytes]) -> bytes:
    """A Feature."""
    return block(BYTES, b"".join(block(1, value) for value in values))


def entry_opening(name: str, length: int) -> bytes:
    """What stands before a Feature of `length` bytes, of that name, in an Example's Features."""
    key = block(1, name.encode())
    inner = opening(2, length)
    return opening(1, len(key) + len(inner) + length) + key + inner
