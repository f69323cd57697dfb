"""What the motion of an episode says, computed once a file: candidates, tracks, features for comparing.

Results lie in DataFolder.cache under the episode's identity, the hash of its motion, so they never grow old. What also
depends on the row (its robot, its rate, its marks) lies under the row's id and rate too.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.db import new_id
from backend.episodes.files import file_of
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from dexvla.episodes.arms import arms_of
from dexvla.episodes.reader import Episode, open_episode, read_positions
from dexvla.files import atomic_file
from dexvla.segmentation import warping
from dexvla.segmentation.boundaries import BoundarySettings, BoundarySource, Candidate, candidates, smoothed
from dexvla.spec import FPS_LEAST, FPS_MOST

FPS = 50.0  # where an episode does not say
SETTINGS = BoundarySettings()
_VERSION = 2  # of what is computed; another one makes everything anew
_KEPT = 4096  # features in memory, 5 kB each
_MOST_VALUES = 20_000_000  # of a motion; of longer ones every n-th step is read
_MARK = 0.95  # who drove said so

_STAMP = hashlib.sha256(json.dumps([_VERSION, asdict(SETTINGS)]).encode()).hexdigest()[:12]
_features: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
_lock = threading.Lock()


def fps_of(row: EpisodeRow) -> float:
    """Also of episodes that were taken in before their rate was bounded."""
    return row.fps if row.fps is not None and FPS_LEAST <= row.fps <= FPS_MOST else FPS


def found(studio: Studio, row: EpisodeRow) -> list[Candidate]:
    """Marks and readings of the motion, by step."""

    def make() -> bytes:
        with open_episode(file_of(studio, row)) as episode:
            every = -(-episode.qpos.size // _MOST_VALUES)
            arms = arms_of(row.robot, row.state_dim)
            read = candidates(episode.qpos[::every], fps_of(row) / every, arms, SETTINGS)
            marks = [mark for mark in episode.marks or () if mark > 0]
        rows: list[tuple[int, float, str, str | None]] = [(mark, _MARK, BoundarySource.MARK, None) for mark in marks]
        rows += [(one.step * every, round(one.confidence, 4), one.source, one.arm) for one in read]
        return json.dumps(sorted(rows, key=lambda one: one[0])).encode()

    content = _kept(studio, f"{_of_row(row)}.candidates.json", make)
    return [
        Candidate(step=step, confidence=confidence, source=BoundarySource(source), arm=arm)
        for step, confidence, source, arm in json.loads(content)
    ]


def tracks(studio: Studio, row: EpisodeRow) -> bytes:
    """JSON of schemas.TracksOut."""

    def make() -> bytes:
        with open_episode(file_of(studio, row)) as episode:
            lines = _tracks(episode, row)
        return json.dumps({"steps": row.steps, "fps": fps_of(row), "tracks": lines}, separators=(",", ":")).encode()

    return _kept(studio, f"{_of_row(row)}.tracks.json", make)


def tracks_tag(row: EpisodeRow) -> str:
    """ETag of `tracks`."""
    return f'"{_of_row(row)}"'


def _of_row(row: EpisodeRow) -> str:
    return f"{row.identity[:32]}-{row.id}-{fps_of(row):g}-{_STAMP}"


def _tracks(episode: Episode, row: EpisodeRow) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for arm in arms_of(row.robot, row.state_dim):
        if arm.gripper is not None:
            lines.append(_track(arm.name, "gripper", "0 closed .. 1 open", episode.qpos[:, arm.gripper], 4))
        joints = smoothed(np.asarray(episode.qpos[:, arm.joints], np.float64), SETTINGS.smooth_seconds * fps_of(row))
        moving = np.gradient(joints, axis=0) * fps_of(row) if len(joints) > 1 else np.zeros_like(joints)
        lines.append(_track(arm.name, "speed", "rad/s", np.linalg.norm(moving, axis=1), 3))
    return lines


def _track(arm: str, kind: str, unit: str, values: NDArray[np.floating], digits: int) -> dict[str, object]:
    plain = np.asarray(values, np.float64).round(digits).tolist()
    return {"name": f"{arm} {kind}", "kind": kind, "arm": arm, "unit": unit, "values": plain}


# --- features for comparing -----------------------------------------------------------------------------------


def features_at_hand(studio: Studio, row: EpisodeRow) -> NDArray[np.float32] | None:
    """From memory or from the cache, without opening the episode."""
    with _lock:
        if row.identity in _features:
            _features.move_to_end(row.identity)
            return _features[row.identity]
    try:
        values = np.load(_features_file(studio, row), allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return _remember(row, values)


def features(studio: Studio, row: EpisodeRow) -> NDArray[np.float32]:
    """dexvla.segmentation.warping.features of the episode's positions."""
    known = features_at_hand(studio, row)
    if known is not None:
        return known
    values = warping.features(read_positions(file_of(studio, row)))
    path = _features_file(studio, row)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{new_id()}.npy")
    np.save(temporary, values)  # not flushed to the disk, there are hundreds: what a power cut spoils is made anew
    os.replace(temporary, path)
    return _remember(row, values)


def _remember(row: EpisodeRow, values: NDArray[np.float32]) -> NDArray[np.float32]:
    with _lock:
        _features[row.identity] = values
        while len(_features) > _KEPT:
            _features.popitem(last=False)
    return values


def _features_file(studio: Studio, row: EpisodeRow) -> Path:
    return _folder(studio) / f"{row.identity}-{_VERSION}.features.npy"


# --- the cache ------------------------------------------------------------------------------------------------


def _folder(studio: Studio) -> Path:
    return studio.settings.folder.cache / "suggestions"  # so called in every data folder there is


def _kept(studio: Studio, name: str, make: Callable[[], bytes]) -> bytes:
    path = _folder(studio) / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        content = make()
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return content
