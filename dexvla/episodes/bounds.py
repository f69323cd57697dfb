"""How large the parts of a file from outside may be, and its tree: checked before anything is read or sized by them.

A few kilobytes of HDF5 can declare terabytes, name one group by 2^40 paths, or nest thousands of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dexvla.errors import EpisodeError

MAX_STEPS = 2_000_000  # eleven hours at 50 Hz
MAX_DIMENSIONS = 4096
MAX_VALUES = 2**25  # of one array of numbers: 128 MiB as float32
MAX_CAMERAS = 64
MAX_ROW = 2**25  # bytes of one JPEG
MAX_CHUNK = 2**28  # bytes that HDF5 unpacks to give one value out of a chunk
MAX_TEXT = 2**26  # bytes of all texts of one dataset
MAX_INSTRUCTION = 10_000  # characters
MAX_WORD = 1000  # characters of an attribute
_MAX_ATTRIBUTE = 2**16  # bytes
_MAX_REFERENCES = 2**8  # bytes: 32 texts of variable length, each of which lies elsewhere in the file
_PLAIN = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM}
_MAX_DEPTH = 16
_MAX_ENTRIES = 10_000
_TEXTS_AT_ONCE = 16  # texts of variable length may all be the same long one


def walk(
    path: Path, file: h5py.File, visit: Callable[[str, h5py.Dataset], Any] | None = None, *, below: str = ""
) -> frozenset[str]:
    """Go through every entry once; `visit` is given each dataset with its name. Returns the names of soft links, which
    nobody follows. below: the group that is gone through; everything by default.

    Raises EpisodeError for external links, which lead out of the file, for names that are not UTF-8, and for a tree
    that is deeper or larger than an episode's.
    """
    soft: set[str] = set()
    entries = 0
    start = _group(path, file, below)
    seen = {_address(start)}
    waiting: list[tuple[h5py.Group, str, int]] = [(start, f"{below}/" if below else "", 0)]
    while waiting:
        group, prefix, depth = waiting.pop()
        entries += len(group)
        if entries > _MAX_ENTRIES:
            raise EpisodeError(f"{path}: more than {_MAX_ENTRIES} entries in its groups; an episode has a few dozen")
        for name in group:
            if not _is_unicode(name):
                raise EpisodeError(f"{path}: the name {prefix + name!r} is not valid UTF-8")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                soft.add(f"{prefix}{name}")
                continue
            if not isinstance(link, h5py.HardLink):
                raise EpisodeError(
                    f"{path}: {prefix}{name} is a {type(link).__name__}; links are refused, store the data"
                )
            item = group[name]
            if (address := _address(item)) in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                if depth >= _MAX_DEPTH:
                    raise EpisodeError(f"{path}: groups are nested more than {_MAX_DEPTH} deep, below {prefix[:80]}")
                waiting.append((item, f"{prefix}{name}/", depth + 1))
            elif visit is not None and isinstance(item, h5py.Dataset):
                visit(f"{prefix}{name}", item)
    return frozenset(soft)


def _group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    """The group of that name, to which no link but hard ones leads."""
    group = file["/"]
    for part in name.split("/") if name else ():
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise EpisodeError(f"{path}: {name} is not there, or a link leads to it; links are refused, store the data")
        group = group[part]
    if not isinstance(group, h5py.Group):
        raise EpisodeError(f"{path}: {name} is a {type(group).__name__.lower()}, expected a group")
    return group


def check_chunks(path: Path, name: str, dataset: h5py.Dataset, most: int = MAX_CHUNK) -> None:
    """Raise EpisodeError for a dataset of which any part costs more memory to read than an image could need.

    A few kilobytes can hold a chunk of gigabytes, if it is zeros.
    """
    if dataset.chunks is None:
        return
    size = float(np.prod(dataset.chunks, dtype=np.float64)) * dataset.id.get_type().get_size()
    if size > most:
        raise EpisodeError(
            f"{path}: {name} is stored in chunks of {size / 2**20:.0f} MiB, at most {most // 2**20} MiB are read at "
            "once; store one step a chunk"
        )


def read_attribute(attributes: h5py.AttributeManager, name: str) -> Any:
    """The value; the only one of an array that holds one, as some tools store single values.

    Raises ValueError for one that is too large to be an attribute, and what h5py raises.
    """
    stored = attributes.get_id(name)
    kind = stored.get_type()
    count = float(np.prod(stored.shape or (), dtype=np.float64))
    size = count * kind.get_size()
    plain = kind.get_class() in _PLAIN or (isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str())
    if size > (_MAX_ATTRIBUTE if plain else _MAX_REFERENCES):
        raise ValueError(f"it holds {count:.0f} values of {size:.0f} bytes, too many for an attribute")
    value = attributes[name]
    return value.reshape(())[()] if isinstance(value, np.ndarray) and value.size == 1 else value


def read_texts(dataset: h5py.Dataset) -> list[Any]:
    """All texts, as h5py gives them. Raises ValueError if they are longer together than texts may be."""
    if dataset.ndim > 1 and any(size != 1 for size in dataset.shape[1:]):
        raise ValueError(f"it has shape {dataset.shape}, expected one text or one a step")
    if not dataset.ndim:
        return [dataset[()]]
    texts: list[Any] = []
    total = 0
    for first in range(0, dataset.shape[0], _TEXTS_AT_ONCE):
        part = np.asarray(dataset[first : first + _TEXTS_AT_ONCE]).ravel().tolist()
        total += sum(map(len, part))
        if total > MAX_TEXT:
            raise ValueError(f"its texts have more than {MAX_TEXT // 2**20} MiB")
        texts += part
    return texts


def _address(item: Any) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
