"""features.json: what each feature of a TFDS dataset is, as a flat list of those that are stored.

Both of its forms are read: {"pythonClassName": ..., "tensor": {...}}, and the {"type": ..., "content": {...}} of older
ones. Which class a feature is of does not count, datasets bring classes of their own; what it holds does.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.formats.rlds.wire import BYTES, Feature

_DEEPEST = 16
_MOST = 10_000  # features
_LEGACY = {  # by the last part of the class's name
    "FeaturesDict": "featuresDict",
    "Dataset": "sequence",
    "Sequence": "sequence",
    "SequenceFeature": "sequence",
    "Video": "sequence",
    "Tensor": "tensor",
    "Scalar": "tensor",
    "Image": "image",
    "Text": "text",
    "ClassLabel": "classLabel",
}
_RAGGED, _LENGTHS = "ragged_flat_values", "ragged_row_lengths_0"


@dataclass(frozen=True)
class Leaf:
    """A feature that is stored. name: with / between its parts. kind: tensor, image, text, classLabel, or other.

    shape: of one value, None where it differs. encoding: of tensors, none, bytes or zlib. rank: sequences that it lies
    in; of what a step has, 1.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int | None, ...]
    encoding: str
    rank: int

    @property
    def is_camera(self) -> bool:
        if self.rank != 1:
            return False
        last = self.name.rpartition("/")[2].lower()
        if self.kind == "image":
            channels = self.shape[-1] if len(self.shape) == 3 else 3
            return self.dtype == "uint8" and "depth" not in last and channels in (None, 1, 3, 4)
        shape = self.shape
        raw = self.kind == "tensor" and self.dtype == "uint8" and len(shape) == 3 and None not in shape
        return raw and shape[2] == 3 and self.encoding != "none"

    @property
    def is_depth(self) -> bool:
        return self.kind == "image" and not self.is_camera

    @property
    def is_numeric(self) -> bool:
        return self.kind == "tensor" and self.dtype != "string" and not self.is_camera


def leaves_of(described: Any) -> dict[str, Leaf]:
    """By name. Raises ValueError for what is no description of features."""
    found: dict[str, Leaf] = {}
    for leaf in _leaves(described, "", 0, 0):
        found[leaf.name] = leaf
        if len(found) > _MOST:
            raise ValueError(f"more than {_MOST} features")
    return found


def _leaves(described: Any, name: str, rank: int, depth: int) -> Iterator[Leaf]:
    if not isinstance(described, Mapping):
        raise ValueError(f"{name or 'the whole'} is a {type(described).__name__}, expected a feature")
    if depth > _DEEPEST:
        raise ValueError(f"{name[:80]} is nested more than {_DEEPEST} deep")
    kind, content = _kind(described)
    if kind == "featuresDict":
        inner = content.get("features", content)
        if not isinstance(inner, Mapping):
            raise ValueError(f"{name or 'the whole'} holds no features by name")
        for part, one in inner.items():
            if not isinstance(part, str) or not part or "/" in part:
                raise ValueError(f"{name or 'the whole'} has a feature named {part!r}")
            yield from _leaves(one, f"{name}/{part}" if name else part, rank, depth + 1)
    elif kind == "sequence":
        if (inner := content.get("feature")) is None:
            yield Leaf(name, "other", "", (), "none", rank + 1)
        else:
            yield from _leaves(inner, name, rank + 1, depth + 1)
    else:
        dtype = content.get("dtype")
        plain = dtype.rpartition(".")[2] if isinstance(dtype, str) else {"image": "uint8"}.get(kind, "")
        encoding = str(content.get("encoding") or "none").lower()
        yield Leaf(name, kind, plain, _shape(name, content.get("shape")), encoding, rank)


def _kind(described: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for kind in ("featuresDict", "sequence", "dataset", "tensor", "image", "text", "classLabel", "video"):
        content = described.get(kind)
        if isinstance(content, Mapping):
            return {"dataset": "sequence", "video": "sequence"}.get(kind, kind), content
    word, content = described.get("type"), described.get("content")
    kind = _LEGACY.get(word.rpartition(".")[2], "other") if isinstance(word, str) else "other"
    return kind, content if isinstance(content, Mapping) else {}


def _shape(name: str, value: Any) -> tuple[int | None, ...]:
    if isinstance(value, Mapping):
        value = value.get("dimensions", [])
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"{name} has shape {value!r}, expected a list")
    shape: list[int | None] = []
    for size in value:
        number = int(size) if isinstance(size, (int, str)) and str(size).lstrip("-").isdecimal() else None
        if size is not None and (number is None or number > 2**31):
            raise ValueError(f"{name} has shape {value!r}, expected whole numbers")
        shape.append(None if number is None or number < 0 else number)  # -1 where it differs from value to value
    return tuple(shape)


# --- values -----------------------------------------------------------------------------------------------


def texts_of(leaf: Leaf, feature: Feature) -> list[str]:
    """One a step, or of the episode. Numbers are taken for the bytes of a text, zeros behind it."""
    if feature.kind == BYTES:
        return [bytes(blob[: 4 * bounds.MAX_INSTRUCTION]).decode("utf-8", "replace") for blob in feature.blobs()]
    values = feature.numbers()
    width = _width(leaf)
    if width and len(values) % width == 0:
        rows = np.clip(values.reshape(-1, width), 0, 255).astype(np.uint8)
        return [row.tobytes().rstrip(b"\0").decode("utf-8", "replace") for row in rows]
    return []


def values_of(
    leaf: Leaf, features: Mapping[str, Feature]
) -> NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]:
    """(T, D): flat in each step. Raises ValueError for numbers that do not make up whole steps, KeyError for none."""
    if leaf.rank > 1:
        return _even(leaf, features)
    feature = features[leaf.name]
    if leaf.encoding != "none":
        blobs = feature.blobs()
        if _width(leaf) > bounds.MAX_DIMENSIONS or len(blobs) * _width(leaf) > bounds.MAX_VALUES:
            raise ValueError(f"{len(blobs)} times {_width(leaf)} numbers, more than an episode may hold")
        return np.stack([unpacked(leaf, blob).reshape(-1) for blob in blobs])
    values = feature.numbers()
    width = _width(leaf)
    if not width or len(values) % width:
        raise ValueError(f"{len(values)} numbers, expected rows of {width}")
    return values.reshape(-1, width)


def _width(leaf: Leaf) -> int:
    return int(np.prod([size or 0 for size in leaf.shape], dtype=object)) if leaf.shape else 1


def _even(leaf: Leaf, features: Mapping[str, Feature]) -> NDArray[np.float32] | NDArray[np.int64]:
    """Of a list in each step, all of one length."""
    if leaf.rank > 2 or leaf.encoding != "none":
        raise ValueError("lists in lists, expected numbers a step")
    lengths = features[f"{leaf.name}/{_LENGTHS}"].numbers()
    values = features[f"{leaf.name}/{_RAGGED}"].numbers()
    if not len(lengths) or (lengths != lengths[0]).any() or len(values) % len(lengths) or not len(values):
        raise ValueError("lists of different lengths, expected as many numbers in each step")
    return values.reshape(len(lengths), -1)


def unpacked(leaf: Leaf, blob: memoryview) -> NDArray[Any]:
    """A tensor that is stored as its bytes. Raises ValueError for another number of them, before they are unpacked."""
    dtype = np.dtype({"bool": "u1"}.get(leaf.dtype, leaf.dtype)).newbyteorder("<")
    if dtype.hasobject or None in leaf.shape:
        raise ValueError(f"a tensor of {leaf.dtype} {leaf.shape} as bytes, expected a shape that is known")
    size = dtype.itemsize * _width(leaf)
    if size > bounds.MAX_CHUNK:
        raise ValueError(f"a tensor of {size} bytes in each step")
    data = bytes(blob) if leaf.encoding == "bytes" else b""
    if leaf.encoding == "zlib":
        try:
            data = zlib.decompressobj().decompress(bytes(blob), size + 1)
        except zlib.error as error:
            raise ValueError(f"a tensor that cannot be unpacked ({error})") from error
    if len(data) != size:
        raise ValueError(f"a tensor of {len(data)} bytes, expected {size} of {leaf.dtype} {leaf.shape}")
    return np.frombuffer(data, dtype).reshape([size or 0 for size in leaf.shape])
