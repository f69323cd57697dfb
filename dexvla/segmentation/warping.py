"""Take labels over from similar demonstrations, by dynamic time warping of the arms' positions.

Three passes, each over fewer episodes: by distance of 16 even samples, by warping 96 samples, and, for the nearest, by
warping a sample every few steps, whose path carries the boundaries over. Warping: dtaidistance (C, Apache-2.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COARSE = 96  # samples of an episode's features
_FIRST = 16
_WARPED = 64  # episodes that are warped coarsely
_WINDOW = 0.2  # how far time may be warped, as a part of the episode
_FINE = 320  # samples of the last pass, at most
_SAME_SECONDS = 0.5  # boundaries so near to each other agree
_LEAST_SCALE = 0.02  # radians, or travel of a gripper: a dimension that hardly moves is not blown up

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A labelled episode: starts[i] is the first step of texts[i], starts[0] = 0. qpos (T, S)."""

    key: str
    qpos: Floats
    starts: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """distance: root mean square of the difference along the warping path, in standard deviations of a dimension."""

    key: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """starts, texts: as `Labelled`. confidences: of each substep, the part of the neighbours that agree on its text and
    both its boundaries, less where the nearest is far away. sources: the neighbours whose sequence it is."""

    starts: tuple[int, ...]
    texts: tuple[str, ...]
    confidences: tuple[float, ...]
    sources: tuple[Neighbour, ...]


def features(qpos: Floats, samples: int = COARSE) -> NDArray[np.float32]:
    """(T, S) -> (samples, S), evenly over the episode, each the mean of its part."""
    steps = len(qpos)
    if steps < 2 * samples:
        places = np.linspace(0, steps - 1, samples).round().astype(int)
        return np.asarray(qpos[places], np.float32)
    edges = np.linspace(0, steps, samples + 1).astype(int)
    return np.asarray(np.add.reduceat(np.asarray(qpos, np.float64), edges[:-1]) / np.diff(edges)[:, None], np.float32)


def nearest(target: Floats, others: Sequence[Floats], *, count: int) -> list[tuple[int, float]]:
    """(index of others, distance) of the `count` nearest, nearest first. target, others: `features` of each."""
    from dtaidistance import dtw_ndim

    scale = _scale(np.stack([target, *others]))
    first = np.linspace(0, len(target) - 1, _FIRST).round().astype(int)
    rough = np.array([np.square((other[first] - target[first]) / scale).mean() for other in others])
    chosen = np.argsort(rough, kind="stable")[: max(_WARPED, count)]
    window = max(2, round(_WINDOW * len(target)))
    wanted = _contiguous(target / scale)
    distances = [
        (int(index), dtw_ndim.distance_fast(wanted, _contiguous(others[index] / scale), window=window))
        for index in chosen
    ]
    per_sample = np.sqrt(len(target) * target.shape[1])
    return [(index, value / per_sample) for index, value in sorted(distances, key=lambda one: one[1])[:count]]


def transfer(qpos: Floats, fps: float, neighbours: Sequence[tuple[Labelled, float]]) -> Transferred:
    """Labels for qpos (T, S) from labelled episodes with their distances, nearest first; at least one.

    The sequence of texts is the one that most of them have (the nearer one counts more), each boundary the weighted
    median of where their paths put it.
    """
    steps = len(qpos)
    weights = [1 / (distance + 0.05) for _, distance in neighbours]
    total: dict[tuple[str, ...], float] = {}
    for (labelled, _), weight in zip(neighbours, weights, strict=True):
        total[labelled.texts] = total.get(labelled.texts, 0.0) + weight
    texts = max(total, key=lambda sequence: total[sequence])
    agreeing = [
        (labelled, distance, weight)
        for (labelled, distance), weight in zip(neighbours, weights, strict=True)
        if labelled.texts == texts and len(texts) <= steps
    ]
    carried = np.array([_carried(qpos, labelled) for labelled, _, _ in agreeing])
    shares = np.array([weight for _, _, weight in agreeing])
    starts = _separate([_median(column, shares) for column in carried.T], steps)
    near = np.abs(carried - np.array(starts)) <= _SAME_SECONDS * fps
    share = (near * shares[:, None]).sum(axis=0) / sum(weights)
    likeness = float(np.exp(-agreeing[0][1]))
    both = [min(share[index], share[index + 1] if index + 1 < len(starts) else 1.0) for index in range(len(starts))]
    return Transferred(
        starts=tuple(starts),
        texts=texts,
        confidences=tuple(float(value) * likeness for value in both),
        sources=tuple(Neighbour(key=labelled.key, distance=distance) for labelled, distance, _ in agreeing),
    )


def _carried(qpos: Floats, labelled: Labelled) -> list[int]:
    """Steps of qpos at which the substeps of the other begin."""
    from dtaidistance import dtw_ndim

    size = min(_FINE, len(qpos)), min(_FINE, len(labelled.qpos))
    ours, theirs = features(qpos, size[0]), features(labelled.qpos, size[1])
    scale = _scale(np.concatenate([ours, theirs]))
    window = max(2, round(_WINDOW * max(size))) + abs(size[0] - size[1])
    path = np.array(
        dtw_ndim.warping_path(_contiguous(theirs / scale), _contiguous(ours / scale), window=window, use_c=True)
    )
    places = np.array(labelled.starts) * size[1] / len(labelled.qpos)
    # the middle of the samples of ours that a sample of theirs is matched with
    middle = [path[path[:, 0] == sample, 1].mean() for sample in range(size[1])]
    steps = np.interp(places, np.arange(size[1]), middle) * len(qpos) / size[0]
    return [0, *(round(float(step)) for step in steps[1:])]


def _scale(motion: Floats) -> NDArray[np.float64]:
    flat = np.asarray(motion, np.float64).reshape(-1, motion.shape[-1])
    return np.asarray(np.maximum(flat.std(axis=0), _LEAST_SCALE))


def _contiguous(array: Floats) -> NDArray[np.float64]:
    return np.ascontiguousarray(array, np.float64)


def _median(values: NDArray[np.int64], weights: NDArray[np.float64]) -> int:
    order = np.argsort(values, kind="stable")
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return int(values[order][half])


def _separate(starts: Sequence[int], steps: int) -> list[int]:
    """Rising, with at least one step for each, from 0 and below `steps`; there are not more of them than steps."""
    rising: list[int] = []
    for index, start in enumerate(starts):
        low = rising[-1] + 1 if rising else 0
        rising.append(max(low, min(start, steps - len(starts) + index)))
    return rising
