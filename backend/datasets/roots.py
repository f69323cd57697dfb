"""Folders below the configured import roots that hold episode files, each under an id that stands for its path.

Links are not followed, neither to folders nor to files: they could lead out of the root. What is no UTF-8 cannot be
shown or stored and is not offered. Depth, folders and files are bounded: a root may hold anything.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dexvla.episodes.finding import is_episode_file

_DEPTH = 6
_FOLDERS = 20_000
_FILES = 200_000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A folder with episode files in it or below. path: absolute, resolved, below `root`."""

    id: str
    root: Path
    path: Path
    files: int
    size_bytes: int


def candidates(roots: tuple[Path, ...]) -> list[Candidate]:
    """By root and path; without folders that hold no more than one of their subfolders does."""
    found: list[Candidate] = []
    for root in roots:
        top = root.resolve()
        totals: dict[Path, tuple[int, int]] = {}
        for folder, files in _walk(top):
            size = sum(_size(file) for file in files)
            for above in (folder, *folder.parents):
                count, size_bytes = totals.get(above, (0, 0))
                totals[above] = (count + len(files), size_bytes + size)
                if above == top:
                    break
        alike = {path.parent for path, (count, _) in totals.items() if totals.get(path.parent, (0, 0))[0] == count}
        found += [
            Candidate(id=_id(top, path), root=root, path=path, files=count, size_bytes=size_bytes)
            for path, (count, size_bytes) in totals.items()
            if path not in alike and _is_text(path)
        ]
    return sorted(found, key=lambda candidate: (str(candidate.root), str(candidate.path)))


def episode_files(folder: Path) -> list[Path]:
    """What an import of the folder takes, subfolders included."""
    return sorted(file for _, files in _walk(folder) for file in files)


def _id(root: Path, path: Path) -> str:
    name = f"{root}\0{path.relative_to(root)}"
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]


def _is_text(path: Path) -> bool:
    return os.fsencode(path).decode(errors="replace") == str(path)


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    left = _FILES
    for seen, (folder, subfolders, names) in enumerate(os.walk(root, followlinks=False), start=1):
        path = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if len(path.relative_to(root).parts) >= _DEPTH or seen >= _FOLDERS:
            subfolders.clear()
        found = [path / name for name in names if is_episode_file(path / name)]
        files = [file for file in sorted(found)[:left] if file.is_file() and not file.is_symlink()]
        left -= len(files)
        if files:
            yield path, files
        if left <= 0:
            return


def _size(file: Path) -> int:
    with suppress(OSError):  # it went while we looked
        return file.stat().st_size
    return 0
