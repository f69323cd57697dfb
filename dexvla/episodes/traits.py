"""Measure an episode once: how it moves, rests, keeps time, and what its frames look like from afar."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.jpeg import decode_reduced
from dexvla.episodes.reader import Episode
from dexvla.errors import EpisodeError
from dexvla.spec.survey import (
    QUANTILES,
    SKETCH_POINTS,
    CameraTraits,
    DimensionTraits,
    EpisodeTraits,
    Run,
)

_RATE = 50.0  # Hz, for episodes that do not say theirs: what a second of rest is
_REST_S = 0.5  # shorter rests belong to the motion
# A dimension rests below this part of its own range a second: noise of an encoder, and a slow drift of a millimetre.
_REST_SPEED = 0.01
_LATE = 1.5  # intervals
_LOOKED_AT = 50  # frames of a camera that are decoded
_BLACK = 8.0  # of 255, mean of all pixels: a covered lens still has noise


def episode_traits(episode: Episode) -> EpisodeTraits:
    """Everything that `dexvla.episodes.survey` needs to know of an episode.

    Reads every stored frame and decodes about 50 a camera. Raises EpisodeError for what cannot be read.
    """
    if not (np.isfinite(episode.qpos).all() and np.isfinite(episode.action).all()):
        raise EpisodeError(f"{episode.path}: its motion holds values that are not finite")
    fps = episode.attributes.fps
    moving = moves(episode.qpos, fps or _RATE)
    joined = () if episode.lineage is None else episode.lineage.joined_at
    late, gap = _clock(episode.timestamp, fps, joined)
    return EpisodeTraits(
        steps=episode.steps,
        fps=fps,
        state=_dimensions(episode.qpos),
        action=_dimensions(episode.action),
        sketch=tuple(map(tuple, _sketch(episode.qpos).tolist())),
        mismatch=_mismatch(episode.action, episode.qpos),
        late_steps=late,
        largest_gap_s=gap,
        idle=rests(moving, fps or _RATE),
        cameras=tuple(_camera(episode, name, moving) for name in episode.cameras),
    )


def moves(qpos: NDArray[np.floating], fps: float) -> NDArray[np.bool_]:
    """(T, S) -> (T,): whether anything moves at that step, judged over a tenth of a second.

    A dimension moves where it changes by more than a hundredth of its range of this episode in a second; one that has
    no range to speak of (under a millionth of its size) never does.
    """
    steps = len(qpos)
    if steps < 2:
        return np.zeros(steps, bool)
    values = np.asarray(qpos, np.float64)
    span = np.ptp(values, axis=0)
    real = span > 1e-6 * np.maximum(np.abs(values).max(axis=0), 1.0)
    if not real.any():
        return np.zeros(steps, bool)
    window = max(1, round(fps / 10))
    ahead = np.minimum(np.arange(steps) + window, steps - 1)
    behind = np.maximum(np.arange(steps) - window, 0)
    seconds = np.maximum(ahead - behind, 1)[:, None] / fps
    speed = np.abs(values[ahead] - values[behind])[:, real] / span[real] / seconds
    moving: NDArray[np.bool_] = (speed > _REST_SPEED).any(axis=1)
    return moving


def rests(moving: NDArray[np.bool_], fps: float) -> tuple[Run, ...]:
    """Runs of half a second and more in which nothing moves."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], moving, [True]]).astype(np.int8)))
    runs = zip(edges[::2], edges[1::2], strict=True)
    return tuple(Run(start=int(start), end=int(end)) for start, end in runs if end - start >= _REST_S * fps)


def _dimensions(values: NDArray[np.floating]) -> tuple[DimensionTraits, ...]:
    wide = np.asarray(values, np.float64)
    quantiles = np.quantile(wide, QUANTILES, axis=0)
    changes = np.abs(np.diff(wide, axis=0)) if len(wide) > 1 else np.zeros((1, wide.shape[1]))
    at = changes.argmax(axis=0)
    return tuple(
        DimensionTraits(
            mean=float(wide[:, d].mean()),
            std=float(wide[:, d].std()),
            quantiles=tuple(float(value) for value in quantiles[:, d]),
            largest_change=float(changes[at[d], d]),
            largest_change_at=int(at[d]) + 1 if len(wide) > 1 else 0,
        )
        for d in range(wide.shape[1])
    )


def _sketch(qpos: NDArray[np.floating]) -> NDArray[np.float64]:
    """(SKETCH_POINTS, S)"""
    wide = np.asarray(qpos, np.float64)
    at = np.linspace(0, len(wide) - 1, SKETCH_POINTS)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, len(wide) - 1)
    part = (at - before)[:, None]
    sketch: NDArray[np.float64] = wide[before] * (1 - part) + wide[after] * part
    return sketch


def _mismatch(action: NDArray[np.floating], qpos: NDArray[np.floating]) -> tuple[float, ...] | None:
    if action.shape[1] != qpos.shape[1] or len(action) < 2:
        return None
    apart = np.abs(np.asarray(action[:-1], np.float64) - np.asarray(qpos[1:], np.float64))
    return tuple(float(value) for value in np.median(apart, axis=0))


def _clock(
    timestamp: NDArray[np.float64] | None, fps: float | None, joined: Sequence[int] = ()
) -> tuple[int | None, float | None]:
    """(steps that came late, longest time between two of them in seconds). joined: first steps after the joints of an
    edit, before which time was left out on purpose."""
    if timestamp is None or len(timestamp) < 2 or not np.isfinite(timestamp).all():
        return None, None
    between = np.delete(np.diff(timestamp), [step - 1 for step in joined])
    if not len(between):
        return 0, 0.0
    interval = 1 / fps if fps is not None else float(np.median(between))
    return int((between > _LATE * interval).sum()), float(between.max())


def _camera(episode: Episode, name: str, moving: NDArray[np.bool_]) -> CameraTraits:
    repeats = np.zeros(episode.steps, bool)
    before: bytes | None = None
    dark: list[bool] = []
    looked_at = set(np.linspace(0, episode.steps - 1, min(_LOOKED_AT, episode.steps)).astype(int).tolist())
    first_dark = None
    for step in range(episode.steps):
        stored = episode.stored_frame(name, step).tobytes()
        repeats[step] = stored == before
        before = stored
        if step in looked_at:
            dark.append(_mean(episode, name, step, stored) < _BLACK)
            if dark[-1] and first_dark is None:
                first_dark = step
    start, length = _longest(repeats & moving)
    height, width = episode.frame_size(name)
    return CameraTraits(
        name=name,
        height=height,
        width=width,
        repeated=int(repeats.sum()),
        frozen_from=max(start - 1, 0),
        frozen_steps=length,
        black=sum(dark) / len(dark),
        black_from=first_dark,
    )


def _mean(episode: Episode, name: str, step: int, stored: bytes) -> float:
    if stored[:2] != b"\xff\xd8":
        return float(episode.frame(name, step).mean())
    try:
        return float(decode_reduced(stored, 8, 8).mean())
    except ValueError:
        return float(episode.frame(name, step).mean())  # says what is wrong, with camera and step


def _longest(true: NDArray[np.bool_]) -> tuple[int, int]:
    """(first, length) of the longest run of True; (0, 0) where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(edges[2 * longest]), int(lengths[longest])
