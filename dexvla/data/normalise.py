"""Physical units to the numbers the model sees, and back. Statistics are those of `dexvla.data.statistics`.

Actions: min-max to [-1, 1]; states: (q - mean) / std. The formulas are DexVLA's.

The range of a dimension that stands still is 2e-4 wide, which float32 cannot tell from nothing beyond about 2000.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.data.statistics import RANGE_MARGIN
from dexvla.errors import UserError
from dexvla.spec import NormStats

_TOLD_APART = 16  # of float32's spacing at the ends of a range
_FLAT = 1e-9  # of the value, to either side: far more than float64's spacing, far less than float32's
Array = NDArray[np.floating[Any]]


def normalise_actions(actions: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., A) physical units -> (..., A) float32, [-1, 1] over the range seen in the statistics."""
    low, span = _action_range(actions, stats)
    return np.asarray((_exact(actions, low) - low) / span * 2 - 1, dtype=np.float32)


def unnormalise_actions(actions: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., A) normalised -> (..., A) float32 physical units."""
    low, span = _action_range(actions, stats)
    return np.asarray((_exact(actions, low) + 1) / 2 * span + low, dtype=np.float32)


def normalise_state(qpos: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., S) physical units -> (..., S) float32, zero mean and unit deviation over the statistics."""
    if qpos.shape[-1] != stats.state_dim:
        raise UserError(f"state has {qpos.shape[-1]} values, the norm statistics have {stats.state_dim}")
    return np.asarray((qpos - _vector(stats.qpos_mean)) / _vector(stats.qpos_std), dtype=np.float32)


def _action_range(actions: Array, stats: NormStats) -> tuple[Array, Array]:
    """(lowest, span), (A,) float32 as upstream computes; float64 where float32 could not tell a dimension's ends apart.

    Of a dimension so large that not even float64 knows the margins the span is made: normalised to 0 and back.
    """
    if actions.shape[-1] != stats.action_dim:
        raise UserError(f"action has {actions.shape[-1]} values, the norm statistics have {stats.action_dim}")
    low, high = np.asarray(stats.action_min, np.float64), np.asarray(stats.action_max, np.float64)
    largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float32)
    if (high - low > _TOLD_APART * np.spacing(largest)).all():
        short, long = low.astype(np.float32), high.astype(np.float32)
        return short, long - short
    flat, half = high <= low, np.maximum(_FLAT * np.abs(low), RANGE_MARGIN)
    return np.where(flat, low - half, low), np.where(flat, 2 * half, high - low)


def _exact(actions: Array, like: Array) -> Array:
    return np.asarray(actions, like.dtype)


def _vector(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
