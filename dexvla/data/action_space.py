"""Actions as a policy predicts them: positions, or differences from where the robot is.

Legend: T chunk length, n actions left in the episode, A action dimensions, S state dimensions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.data.chunks import action_source
from dexvla.episodes.sums import Sums, together
from dexvla.errors import UserError
from dexvla.spec import ActionKind, ActionSpace

Array = NDArray[np.floating[Any]]
_AT_ONCE = 2**21  # numbers


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


def delta_sums(action: Array, qpos: Array, *, sim: bool, space: ActionSpace, chunk_size: int) -> Sums:
    """Of every action of every chunk of an episode, action (T, A) and qpos (T, S), in a `space` of deltas: later
    actions of a chunk lie further away."""
    steps = range(len(action))
    rows = max(1, _AT_ONCE // (chunk_size * action.shape[1]))
    return together(
        Sums.of(
            np.concatenate(
                [
                    to_space(action_source(action, step, sim=sim)[:chunk_size], qpos[step], space)
                    for step in steps[start : start + rows]
                ]
            )
        )
        for start in steps[::rows]
    )
