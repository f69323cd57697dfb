"""Physical units to the numbers the model sees, and back. Statistics are those of `dexvla.data.statistics`.

Actions: min-max to [-1, 1]; states: (q - mean) / std. The formulas are DexVLA's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import UserError
from dexvla.spec import NormStats

Array = NDArray[np.floating[Any]]


def normalise_actions(actions: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., A) physical units -> (..., A) float32, [-1, 1] over the range seen in the statistics."""
    low, high = _action_range(actions, stats)
    return np.asarray((actions - low) / (high - low) * 2 - 1, dtype=np.float32)


def unnormalise_actions(actions: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., A) normalised -> (..., A) float32 physical units."""
    low, high = _action_range(actions, stats)
    return np.asarray((actions + 1) / 2 * (high - low) + low, dtype=np.float32)


def normalise_state(qpos: Array, stats: NormStats) -> NDArray[np.float32]:
    """(..., S) physical units -> (..., S) float32, zero mean and unit deviation over the statistics."""
    if qpos.shape[-1] != stats.state_dim:
        raise UserError(f"state has {qpos.shape[-1]} values, the norm statistics have {stats.state_dim}")
    return np.asarray((qpos - _vector(stats.qpos_mean)) / _vector(stats.qpos_std), dtype=np.float32)


def _action_range(actions: Array, stats: NormStats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if actions.shape[-1] != stats.action_dim:
        raise UserError(f"action has {actions.shape[-1]} values, the norm statistics have {stats.action_dim}")
    return _vector(stats.action_min), _vector(stats.action_max)


def _vector(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
