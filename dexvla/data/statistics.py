"""Normalisation statistics of a set of episodes, by DexVLA's formulas (see ../docs/upstream-differences.md)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.facts import MotionSums
from dexvla.episodes.known import Motion
from dexvla.episodes.sums import Sums, together
from dexvla.spec import NormStats

STD_FLOOR = 0.01
RANGE_MARGIN = 1e-4
Array = NDArray[np.floating[Any]]


def norm_stats(motions: Iterable[Motion | tuple[Array, Array]]) -> NormStats:
    """Statistics over all steps of all (action (T, A), qpos (T, S)) pairs, of absolute actions.

    Mean and deviation (n - 1, floored at 0.01) are those of the float32 numbers, rounded once (dexvla.episodes.sums);
    min and max get a margin of 1e-4. Of motions whose sums are known only the last one is read.
    """
    pairs = list(motions)
    sums = [_sums(motion) for motion in pairs]
    action, qpos = together(one.action for one in sums), together(one.qpos for one in sums)
    return NormStats(
        **action_stats(action),
        qpos_mean=tuple(qpos.mean()),
        qpos_std=_floored(qpos),
        example_qpos=tuple(tuple(row) for row in pairs[-1][1].astype(float).tolist()),
        steps=action.count,
    )


def action_stats(sums: Sums) -> dict[str, tuple[float, ...]]:
    """The fields of NormStats that say something of actions."""
    return {
        "action_mean": tuple(sums.mean()),
        "action_std": _floored(sums),
        "action_min": tuple(low - RANGE_MARGIN for low in sums.low),
        "action_max": tuple(high + RANGE_MARGIN for high in sums.high),
    }


def _floored(sums: Sums) -> tuple[float, ...]:
    return tuple(max(deviation, STD_FLOOR) for deviation in sums.deviation())


def _sums(motion: Sequence[Array]) -> MotionSums:
    if isinstance(motion, Motion):
        return motion.sums()
    action, qpos = motion
    return MotionSums(action=Sums.of(action), qpos=Sums.of(qpos))
