"""Models below the folders that the administrator named. Nothing outside of them is ever offered."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.base_models.detect import Found, detect

MAX_DEPTH = 5  # root/hub/models--Qwen--Qwen2-VL-2B-Instruct/snapshots/HASH
MAX_PLACES = 5000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """folder: relative to the root. id: stands for the place in requests, so that no path comes from a client."""

    id: str
    root: Path
    folder: str
    found: Found


def candidates(roots: tuple[Path, ...]) -> list[Candidate]:
    """What looks like a model below the roots, by root and folder; each place once."""
    seen: dict[str, Candidate] = {}
    for root in roots:
        try:
            real = root.resolve(strict=True)
        except OSError:  # not there (a disk that is not mounted): nothing to offer
            continue
        for path, found in _search(real):
            candidate = Candidate(
                id=hashlib.sha256(os.fsencode(path)).hexdigest()[:32],
                root=root,
                folder=os.fsencode(path.relative_to(real)).decode(errors="replace"),  # names need not be UTF-8
                found=found,
            )
            seen.setdefault(candidate.id, candidate)
    return list(seen.values())


def _search(root: Path) -> Iterator[tuple[Path, Found]]:
    """Breadth first, so that a huge tree deep below one folder hides nothing beside it."""
    queue: deque[tuple[Path, int]] = deque([(root, 0)])
    seen: set[Path] = set()  # a link to a folder above leads in circles
    while queue and len(seen) < MAX_PLACES:
        path, depth = queue.popleft()
        if (real := path.resolve()) in seen:
            continue
        seen.add(real)
        found = detect(path) if _inside(path, root) else None
        if found is not None:
            yield path, found
            continue
        if depth == MAX_DEPTH or not path.is_dir():
            continue
        try:
            entries = sorted(path.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or not _inside(entry, root):
                continue
            if entry.is_dir() or entry.suffix in {".ckpt", ".pt", ".pth"}:
                queue.append((entry, depth + 1))


def _inside(path: Path, root: Path) -> bool:
    """Links followed, the place and the files in it are below the root (links of a cache point to its blobs)."""
    try:
        if not path.resolve(strict=True).is_relative_to(root):
            return False
        if not path.is_dir():
            return True
        return all(entry.resolve().is_relative_to(root) for entry in path.iterdir() if entry.is_symlink())
    except OSError:
        return False
