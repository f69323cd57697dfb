"""Normalisation statistics of a set of episodes, by DexVLA's formulas (see ../docs/upstream-differences.md)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.spec import NormStats

STD_FLOOR = 0.01
RANGE_MARGIN = 1e-4


def norm_stats(motions: Iterable[tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]) -> NormStats:
    """Statistics over all steps of all (action (T, A), qpos (T, S)) pairs, of absolute actions.

    Mean and deviation (n - 1, floored at 0.01) are computed in float64; min and max get a margin of 1e-4.
    """
    pairs = list(motions)
    actions = np.concatenate([action for action, _ in pairs]).astype(np.float64)
    states = np.concatenate([qpos for _, qpos in pairs]).astype(np.float64)

    def mean_std(values: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
        return tuple(values.mean(axis=0).tolist()), tuple(np.maximum(deviation, STD_FLOOR).tolist())

    action_mean, action_std = mean_std(actions)
    qpos_mean, qpos_std = mean_std(states)
    return NormStats(
        action_mean=action_mean,
        action_std=action_std,
        action_min=tuple((actions.min(axis=0) - RANGE_MARGIN).tolist()),
        action_max=tuple((actions.max(axis=0) + RANGE_MARGIN).tolist()),
        qpos_mean=qpos_mean,
        qpos_std=qpos_std,
        example_qpos=tuple(tuple(row) for row in pairs[-1][1].astype(float).tolist()),
        steps=len(actions),
    )
