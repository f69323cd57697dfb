"""Folders below the configured import roots that hold episodes, each under an id that stands for its path.

Links are not followed, neither to folders nor to files: they could lead out of the root. What is no UTF-8 cannot be
shown or stored and is not offered. Depth, folders and files are bounded: a root may hold anything. Which format a
folder is of is found out when it is looked at; here the endings of files decide.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dexvla.episodes.finding import is_episode_file

_DEPTH = 6
_FOLDERS = 20_000
_FILES = 200_000
_FRESH_NS = 2 * 10**9  # more than file systems' clocks tick by
_HDF5, _LEROBOT, _RLDS, _TABLE = "HDF5", "LeRobot", "RLDS", "CSV"
_RLDS_FEATURES = "features.json"
_KINDS = {".mcap": "MCAP", ".bag": "ROS bag", ".db3": "ROS bag", ".csv": _TABLE}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A folder with episodes in it or below. path: absolute, resolved, below `root`.

    files: those that are counted, of each of `kinds`; tables alone where there is nothing else, since they often stand
    beside the data. A LeRobot or RLDS dataset counts as one.
    """

    id: str
    root: Path
    path: Path
    files: int
    size_bytes: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Walked:
    """What a walk found below a root. changed: when the entries of each folder on its way changed last, ns."""

    found: list[Candidate]
    changed: dict[Path, int]

    @property
    def holds(self) -> bool:
        return all(_changed(path) == moment for path, moment in self.changed.items())


_walked: dict[Path, _Walked] = {}  # the last walk, by root


def candidates(roots: tuple[Path, ...]) -> list[Candidate]:
    """By root and path; without folders that hold no more than one of their subfolders does."""
    found = [one for root in roots for one in _look_below(root)]
    return sorted(found, key=lambda candidate: (str(candidate.root), str(candidate.path)))


def candidate(roots: tuple[Path, ...], candidate_id: str) -> Candidate | None:
    """Of a root whose folders have the same entries as when they were last walked through that is not done again: a
    wizard asks with every answer, and a root may hold hundreds of thousands of files."""
    for root in roots:
        known = _walked.get(root)
        found = known.found if known is not None and known.holds else _look_below(root)
        for one in found:
            if one.id == candidate_id:
                return one
    return None


def _look_below(root: Path) -> list[Candidate]:
    began = time.time_ns()
    top = root.resolve()
    totals: dict[Path, Counter[str]] = {}
    sizes: Counter[Path] = Counter()
    changed: dict[Path, int] = {}
    for folder, files in _walk(top, changed):
        size = sum(_size(file) for file, _ in files)
        for above in (folder, *folder.parents):
            totals.setdefault(above, Counter()).update(kind for _, kind in files)
            sizes[above] += size
            if above == top:
                break
    alike = {path.parent for path, counts in totals.items() if totals.get(path.parent) == counts}
    found = [
        _candidate(root, top, path, counts, sizes[path])
        for path, counts in totals.items()
        if path not in alike and _is_text(path)
    ]
    if max(changed.values(), default=began) < began - _FRESH_NS:
        _walked[root] = _Walked(found=found, changed=changed)
    else:  # it may change once more within a tick of the clock, which nobody would see
        _walked.pop(root, None)
    return found


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _candidate(root: Path, top: Path, path: Path, counts: Counter[str], size: int) -> Candidate:
    data = {kind: number for kind, number in counts.items() if kind != _TABLE} or dict(counts)
    files, kinds = sum(data.values()), tuple(sorted(data))
    return Candidate(id=_id(top, path), root=root, path=path, files=files, size_bytes=size, kinds=kinds)


def episode_files(folder: Path) -> list[Path]:
    """What is counted of a folder, subfolders included."""
    return sorted(file for _, files in _walk(folder, {}) for file, _ in files)


def _id(root: Path, path: Path) -> str:
    name = f"{root}\0{path.relative_to(root)}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]


def _is_text(path: Path) -> bool:
    return os.fsencode(path).decode(errors="replace") == str(path)


def _walk(root: Path, changed: dict[Path, int]) -> Iterator[tuple[Path, list[tuple[Path, str]]]]:
    """changed: gets the folders that were gone through."""
    left = _FILES
    for seen, (folder, subfolders, names) in enumerate(os.walk(root, followlinks=False), start=1):
        path = Path(folder)
        changed[path] = _changed(path)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if "meta" in subfolders and (path / "meta" / "info.json").is_file():
            changed[path / "meta"] = _changed(path / "meta")
            yield path, [(path / "meta" / "info.json", _LEROBOT)]
            left -= 1
            subfolders.clear()
            continue
        if _RLDS_FEATURES in names and any(".tfrecord" in name for name in names):
            yield path, [(path / _RLDS_FEATURES, _RLDS)]
            left -= 1
            subfolders.clear()
            continue
        if len(path.relative_to(root).parts) >= _DEPTH or seen >= _FOLDERS:
            subfolders.clear()
        found = [(path / name, kind) for name in sorted(names) if (kind := _kind(path / name)) is not None]
        files = [(file, kind) for file, kind in found[:left] if file.is_file() and not file.is_symlink()]
        left -= len(files)
        if files:
            yield path, files
        if left <= 0:
            return


def _kind(file: Path) -> str | None:
    """By its name alone."""
    if is_episode_file(file):
        return _HDF5
    return None if file.name.startswith(".") else _KINDS.get(file.suffix.lower())


def _size(file: Path) -> int:
    """Of a LeRobot dataset all its files."""
    with suppress(OSError):  # it went while we looked
        if file.name == _RLDS_FEATURES:
            return sum(one.lstat().st_size for one in file.parent.iterdir())
        if file.name == "info.json":
            inner = [Path(here, name) for here, _, names in os.walk(file.parents[1]) for name in names]
            return sum(one.lstat().st_size for one in inner)
        return file.stat().st_size
    return 0
