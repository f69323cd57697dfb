"""Tensors from files that `torch.save` wrote (.bin, .pth, .pt, .ckpt), read without torch's loader.

Such a file is a zip archive: a small pickle says which tensor is a view of which storage, the storages lie beside it
as raw bytes. The pickle goes through dexvla.model.pickled, the bytes into tensors; nothing of the file is executed.
"""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dexvla.errors import CheckpointError
from dexvla.model.pickled import PLAIN_NAMES, Names, Refused, is_shape, read_values

MAX_PICKLE_BYTES = 64 * 2**20  # the model's 1081 tensors take 0.2 MB
_MAX_VIEWS = 4  # tensors may share storages, but all together not be larger than this many times the file

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    elements: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.storage.dtype.itemsize


class TorchFile:
    """One open file. `value` is what it holds, with a `StoredTensor` where it holds a tensor."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError for a file that is missing, damaged, of the format before torch 1.6, or refused."""
        self._path = path
        self._storages: dict[str, Tensor] = {}
        self._given: set[str] = set()
        if not path.is_file():
            raise CheckpointError(f"{path}: missing")
        self._bytes = path.stat().st_size
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path}: not a zip archive, as torch.save has written since torch 1.6; if it is older or a plain "
                "pickle, load it with the torch you trust it with and save it again"
            ) from error
        try:
            self._members = {entry.filename: entry for entry in self._zip.infolist()}
            found = [name for name in self._members if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(found) != 1:
                raise CheckpointError(f"{path}: {len(found)} members named data.pkl, expected one")
            self._root = found[0].removesuffix("data.pkl")
            self.value = self._read()
        except BaseException:
            self._zip.close()
            raise

    def _read(self) -> Any:
        order = self._members.get(f"{self._root}byteorder")
        if order is not None and self._member(order.filename, 16).tobytes() != b"little":
            raise CheckpointError(f"{self._path}: numbers in the byte order of another machine")
        try:
            return read_values(
                self._member(f"{self._root}data.pkl", MAX_PICKLE_BYTES).tobytes(),
                _TORCH_NAMES,
                bare=_STORAGE_NAMES,
                persistent=_storage,
            )
        except Refused as error:
            raise CheckpointError(f"{self._path}: refused: it holds {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def tensors(self, found: Any, where: str = "") -> dict[str, Tensor]:
        """The tensors of a flat dict `found` inside this file, by name; other entries are an error."""
        if not isinstance(found, Mapping) or not found:
            raise CheckpointError(f"{self._path}: {where or 'the content'} is not a dict of tensors")
        for name, item in found.items():
            if not isinstance(name, str) or not isinstance(item, StoredTensor):
                raise CheckpointError(f"{self._path}: {str(name)[:80]!r} is not a tensor; expected a dict of tensors")
        if sum(item.bytes for item in found.values()) > _MAX_VIEWS * self._bytes:
            raise CheckpointError(f"{self._path}: its tensors are many times larger than the file")
        return {name: self._tensor(item) for name, item in found.items()}

    def _tensor(self, stored: StoredTensor) -> Tensor:
        whole = self._storages.get(stored.storage.key)
        if whole is None:
            length = stored.storage.elements * stored.storage.dtype.itemsize
            name = f"{self._root}data/{stored.storage.key}"
            data = self._member(name, length)
            if len(data) != length:
                raise CheckpointError(f"{self._path}: {name} has {len(data)} bytes, its tensors say {length}")
            whole = torch.from_numpy(data)
            self._storages[stored.storage.key] = whole
        typed = whole.view(stored.storage.dtype) if whole.numel() else whole.to(stored.storage.dtype)
        needed = stored.offset + sum((side - 1) * step for side, step in zip(stored.shape, stored.stride, strict=True))
        if math.prod(stored.shape) and needed >= typed.numel():
            raise CheckpointError(f"{self._path}: a tensor reaches beyond its storage")
        view = typed.as_strided(stored.shape, stored.stride, stored.offset)
        if stored.storage.key in self._given or view.numel() != typed.numel():
            return view.clone()  # nothing that is handed out shares memory
        self._given.add(stored.storage.key)
        return view

    def _member(self, name: str, limit: int) -> NDArray[np.uint8]:
        """The bytes of a member, at most `limit`, where torch's own would lie (see dexvla.model.weights).

        Compression is refused: torch does not compress, a bomb does.
        """
        entry = self._members.get(name)
        if entry is None:
            raise CheckpointError(f"{self._path}: truncated or damaged, {name} is missing")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > min(limit, self._bytes):
            raise CheckpointError(f"{self._path}: {name} is compressed or larger than expected")
        try:
            with self._zip.open(entry) as opened:
                data: NDArray[np.uint8] = torch.empty(entry.file_size, dtype=torch.uint8).numpy()
                filled = opened.readinto(memoryview(data))
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
            raise CheckpointError(f"{self._path}: truncated or damaged, {name} cannot be read ({error})") from error
        return data if filled == len(data) else data[:filled]


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that holds one flat dict of them, such as a state dict."""
    with TorchFile(path) as file:
        return file.tensors(file.value)


def _storage(identity: Any) -> _Storage:
    """torch's persistent id: ("storage", its class, key, device, number of elements)."""
    if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
        raise Refused("something stored apart that is not a tensor's storage")
    _, kind, key, _, elements = identity
    dtype = _STORAGES.get(str(getattr(kind, "name", "")).removeprefix("torch."))
    if dtype is None or type(key) is not str or not key.isalnum() or not is_shape((elements,)):
        raise Refused("a tensor's storage that cannot be understood")
    return _Storage(key, dtype, elements)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """Sides and steps are checked here, the reach of the view when it is read."""
    if not isinstance(storage, _Storage) or not is_shape((offset,)) or not is_shape(shape) or not is_shape(stride):
        raise Refused("a tensor that cannot be understood")
    if len(shape) != len(stride) or max(math.prod(shape), *shape, 0) > max(storage.elements, 1):
        raise Refused("a tensor that is larger than its storage")
    return StoredTensor(storage, offset, shape, stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise Refused("a parameter that is not a tensor")
    return tensor


def _size(sides: Any) -> tuple[int, ...]:
    if type(sides) is list:
        sides = tuple(sides)
    if not is_shape(sides):
        raise Refused("a shape that is none")
    return tuple(sides)


_STORAGE_NAMES = frozenset(f"torch.{name}" for name in _STORAGES)
_TORCH_NAMES: Names = {
    **PLAIN_NAMES,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
}
