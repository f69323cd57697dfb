"""Folders below the configured import roots that hold episode files, each under an id that stands for its path."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DEPTH = 6
_FOLDERS = 20_000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A folder with *.hdf5 files directly in it. path: absolute, resolved, below `root`."""

    id: str
    root: Path
    path: Path
    files: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def candidates(roots: tuple[Path, ...]) -> list[Candidate]:
    """By root and path. Links are not followed: they could lead out of the root."""
    found: list[Candidate] = []
    for root in roots:
        if root.is_dir():
            for path, files in _walk(root.resolve()):
                name = f"{root.resolve()}\0{path.relative_to(root.resolve())}"
                identity = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
                found.append(Candidate(id=identity, root=root, path=path, files=files))
    return sorted(found, key=lambda candidate: (str(candidate.root), str(candidate.path)))


def _walk(root: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    for seen, (folder, subfolders, names) in enumerate(os.walk(root, followlinks=False), start=1):
        path = Path(folder)
        if len(path.relative_to(root).parts) >= _DEPTH or seen >= _FOLDERS:
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files = tuple(
            path / name
            for name in sorted(names)
            if name.endswith((".hdf5", ".h5")) and not name.startswith(".") and not (path / name).is_symlink()
        )
        if files:
            yield path, files
