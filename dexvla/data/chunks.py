"""Which recorded actions a policy should predict at a step.

Legend: T chunk length, A action dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from dexvla.spec import PaddedActions


def action_source(action: NDArray[np.float32], step: int, *, sim: bool) -> NDArray[np.float32]:
    """The actions that belong to the state of `step`, (n, A): action[step:] in a simulator.

    On a real robot the recorded action of a step answers the state before it, so the chunk starts one step earlier
    (steps 0 and 1 share their chunk), as in ACT and DexVLA.
    """
    return action[step:] if sim else action[max(0, step - 1) :]


def action_chunk(
    source: NDArray[np.float32], chunk_size: int, padding: PaddedActions
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n, A) -> chunk (T, A) and is_pad (T,), physical units. Always `chunk_size` rows, however short the episode."""
    taken = source[:chunk_size]
    chunk = np.zeros((chunk_size, source.shape[1]), np.float32)
    chunk[: len(taken)] = taken
    if padding is PaddedActions.REPEAT_LAST:
        chunk[len(taken) :] = taken[-1]
    return chunk, np.arange(chunk_size) >= len(taken)
