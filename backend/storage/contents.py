"""What is in a folder without a row, in a few words: enough to decide what becomes of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.storage.repository import checkpoint_folders

_STEPS = 4
_LINE = 120


def contents(kind: str, path: Path) -> str:
    """Of a stray of this kind; "" where nothing can be told."""
    describe = _DESCRIBED.get(kind)
    try:
        return "" if describe is None else describe(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _version(path: Path) -> str:
    manifest = _json(path / "manifest.json")
    episodes = manifest.get("episodes")
    if not isinstance(episodes, list):
        return "no manifest that can be read"
    return f"{len(episodes)} episodes of {manifest.get('name', 'a dataset')}"


def _run(path: Path) -> str:
    spec, steps = _json(path / "run.json"), list(checkpoint_folders(path))
    name = f"{spec.get('name', 'unnamed')}, stage {spec.get('stage', '?')}" if spec else "no run.json that can be read"
    if not steps:
        return f"{name}, no checkpoint"
    shown = ", ".join(map(str, steps[-_STEPS:]))
    more = "..., " if len(steps) > _STEPS else ""
    return f"{name}, checkpoints of steps {more}{shown}"


def _checkpoint(path: Path) -> str:
    manifest = _json(path / "manifest.json")
    return f"stage {manifest.get('stage', '?')}, saved {str(manifest.get('created', '?'))[:16]}"


def _evaluation(path: Path) -> str:
    names = [one.name for one in path.rglob("*") if one.is_file()]
    videos = sum(name.endswith((".mp4", ".webm")) for name in names)
    return f"{len(names)} files, {videos} of them videos"


def _job(path: Path) -> str:
    log = path / "log.txt"
    if not log.is_file():
        return "no log"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return f"its log ends with: {lines[-1][:_LINE]}" if lines else "an empty log"


_DESCRIBED: dict[str, Callable[[Path], str]] = {
    "dataset version": _version,
    "run": _run,
    "checkpoint": _checkpoint,
    "evaluation": _evaluation,
    "job": _job,
}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
