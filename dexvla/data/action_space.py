"""Actions as a policy predicts them: positions, or differences from where the robot is.

Legend: T chunk length, n actions left in the episode, A action dimensions, S state dimensions.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.data.chunks import action_source
from dexvla.data.statistics import RANGE_MARGIN, STD_FLOOR
from dexvla.errors import UserError
from dexvla.spec import ActionKind, ActionSpace, NormStats

Array = NDArray[np.floating[Any]]


def check_action_space(space: ActionSpace, *, action_dim: int, state_dim: int) -> None:
    """Raise UserError unless actions of this kind can be made from states: the same dimensions in the same order."""
    if space.kind is not ActionKind.ABSOLUTE and action_dim != state_dim:
        raise UserError(
            f"action_space {space.kind} needs actions and states of the same dimensions; "
            f"found {action_dim} and {state_dim}; use absolute"
        )
    outside = [index for index in space.absolute if index >= action_dim]
    if outside:
        raise UserError(f"action_space.absolute names dimension {outside[0]}; actions have {action_dim}, from 0")


def to_space(source: Array, state: Array, space: ActionSpace) -> NDArray[np.float32]:
    """(n, A) positions from the step of `state` (S,) on -> (n, A) in `space`, physical units."""
    if space.kind is ActionKind.ABSOLUTE:
        return np.asarray(source, np.float32)
    if space.kind is ActionKind.DELTA:
        values = np.asarray(source - state, np.float32)
    else:
        values = np.zeros_like(source, dtype=np.float32)
        values[:-1] = np.diff(source, axis=0)
    values[:, list(space.absolute)] = source[:, list(space.absolute)]
    return values


def from_space(chunk: Array, state: Array, space: ActionSpace) -> NDArray[np.float32]:
    """(T, A) in `space` -> (T, A) positions, given the state (S,) at the chunk's first step."""
    if space.kind is ActionKind.ABSOLUTE:
        return np.asarray(chunk, np.float32)
    moved = chunk if space.kind is ActionKind.DELTA else np.cumsum(chunk, axis=0)
    values = np.asarray(moved + state, np.float32)
    values[:, list(space.absolute)] = chunk[:, list(space.absolute)]
    return values


def with_action_space(
    stats: NormStats, motions: Iterable[tuple[Array, Array, bool]], *, space: ActionSpace, chunk_size: int
) -> NormStats:
    """Statistics of the actions as they are predicted; `stats` are those of positions.

    For `delta` over every action of every chunk of (action (T, A), qpos (T, S), sim): later actions of a chunk lie
    further away. `difference` keeps the statistics of positions, as upstream trains it.
    """
    if space.kind is not ActionKind.DELTA:
        return stats
    count, total, squares = 0, np.zeros(stats.action_dim), np.zeros(stats.action_dim)
    low, high = np.full(stats.action_dim, np.inf), np.full(stats.action_dim, -np.inf)
    for action, qpos, sim in motions:
        for step in range(len(action)):
            values = to_space(action_source(action, step, sim=sim)[:chunk_size], qpos[step], space).astype(np.float64)
            count += len(values)
            total += values.sum(axis=0)
            squares += (values**2).sum(axis=0)
            low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    mean = total / count
    variance = np.maximum(squares - count * mean**2, 0.0) / max(count - 1, 1)
    return stats.model_copy(
        update={
            "action_mean": tuple(mean.tolist()),
            "action_std": tuple(np.maximum(np.sqrt(variance), STD_FLOOR).tolist()),
            "action_min": tuple((low - RANGE_MARGIN).tolist()),
            "action_max": tuple((high + RANGE_MARGIN).tolist()),
        }
    )
