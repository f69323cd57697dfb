"""From chunks to one action per step. Pure logic: no clock, no I/O, no thread; steps are counted by the caller.

T: actions in a chunk; A: entries of an action. Action i of a chunk belongs to the step of its observation + i.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import UserError


class ExecutionMode(StrEnum):
    """sync: the newest chunk alone. ensemble: the weighted mean of every chunk that covers the step, as in ACT."""

    SYNC = "sync"
    ENSEMBLE = "ensemble"


class RefusalReason(StrEnum):
    WRONG_SHAPE = "wrong_shape"
    NON_FINITE = "non_finite"
    STALE_EPOCH = "stale_epoch"
    FROM_FUTURE = "from_future"
    OUT_OF_ORDER = "out_of_order"
    ELAPSED = "elapsed"


class ChunkRefused(UserError):
    """A chunk that was refused as a whole; the executor is as it was before."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class StampedChunk:
    """A chunk and where it comes from.

    actions: (T, A). step: index of the observation that it answers. epoch: the executor's when it was asked for.
    """

    actions: NDArray[np.floating[Any]]
    step: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class PlannedAction:
    """action: (A,) float32. index: its place in the newest chunk that covers the step. chunks: how many had a say."""

    action: NDArray[np.float32]
    index: int
    chunks: int


@dataclass(kw_only=True)
class _Held:
    actions: NDArray[np.float64]
    step: int
    used: int = 0


class ChunkExecutor:
    """Takes chunks, gives one action per step.

    chunk_size: T, action_dim: A of every chunk. execute_steps: actions of a chunk that are executed before the next
    one is asked for; the rest is a reserve while the next one is late. ensemble_decay: in ensemble mode chunk i,
    counted from the oldest that covers the step, weighs exp(-ensemble_decay * i) (ACT, arXiv 2304.13705, section
    IV.B; its value is 0.01). ACT asks at every step: execute_steps=1.

    A take-over or a stop calls `flush`, which starts a new epoch: answers to older questions are refused.
    """

    def __init__(
        self,
        *,
        chunk_size: int,
        action_dim: int,
        execute_steps: int,
        mode: ExecutionMode = ExecutionMode.SYNC,
        ensemble_decay: float = 0.01,
    ) -> None:
        if chunk_size < 1 or action_dim < 1:
            raise ValueError(f"a chunk of {chunk_size} x {action_dim} holds no action")
        if not 1 <= execute_steps <= chunk_size:
            raise UserError(
                f"execute_steps is {execute_steps}, expected 1 .. {chunk_size}: the policy's chunks have "
                f"{chunk_size} actions"
            )
        if not np.isfinite(ensemble_decay) or ensemble_decay < 0:
            raise ValueError(f"ensemble_decay is {ensemble_decay}, expected 0 or more")
        self._shape = (chunk_size, action_dim)
        self._execute_steps = execute_steps
        self._mode = mode
        self._decay = ensemble_decay
        self._epoch = 0
        self._held: list[_Held] = []
        self._last_step: int | None = None

    @property
    def epoch(self) -> int:
        return self._epoch

    def flush(self) -> int:
        """Forget every chunk and start a new epoch, whose number is returned. Steps may start again from 0."""
        self._held.clear()
        self._last_step = None
        self._epoch += 1
        return self._epoch

    def wants_chunk(self, step: int) -> bool:
        """True when `step` should be observed and answered: nothing is held for it, or enough has been executed."""
        held = self._newest(step)
        return held is None or held.used >= self._execute_steps

    def remaining(self, step: int) -> int:
        """Actions that are held from `step` on, `step` included."""
        held = self._newest(step)
        return 0 if held is None else held.step + self._shape[0] - step

    def add(self, chunk: StampedChunk, *, step: int) -> int:
        """Take a chunk at `step`, the next step to be executed; returns how many of its actions had elapsed.

        Raises ChunkRefused, and keeps what it held, if the chunk has a wrong shape or a non-finite value, is of an
        older epoch, answers a step to come, answers an older step than a chunk it holds, or has elapsed altogether.
        """
        self._check(chunk, step)
        if self._held and self._held[-1].step == chunk.step:
            self._held.pop()
        if self._mode is ExecutionMode.SYNC:
            self._held.clear()
        self._held.append(_Held(actions=np.array(chunk.actions, dtype=np.float64), step=chunk.step))
        return step - chunk.step

    def action(self, step: int) -> PlannedAction | None:
        """The action of `step`, or None: nothing is held for it, and the caller holds the robot where it is.

        Steps may be left out but never go back (ValueError).
        """
        if self._last_step is not None and step <= self._last_step:
            raise ValueError(f"step {step} after step {self._last_step}: steps only go forward; flush to start again")
        self._last_step = step
        size = self._shape[0]
        self._held = [held for held in self._held if step < held.step + size]
        covering = [held for held in self._held if held.step <= step]
        if not covering:
            return None
        newest = covering[-1]
        newest.used += 1
        weights = np.exp(-self._decay * np.arange(len(covering)))
        rows = np.stack([held.actions[step - held.step] for held in covering])
        action = weights @ rows / weights.sum() if len(covering) > 1 else rows[0]
        return PlannedAction(action=action.astype(np.float32), index=step - newest.step, chunks=len(covering))

    def _newest(self, step: int) -> _Held | None:
        if not self._held:
            return None
        held = self._held[-1]
        return held if held.step <= step < held.step + self._shape[0] else None

    def _check(self, chunk: StampedChunk, step: int) -> None:
        if chunk.epoch != self._epoch:
            raise ChunkRefused(
                RefusalReason.STALE_EPOCH,
                f"chunk of epoch {chunk.epoch} in epoch {self._epoch}: asked for before a flush",
            )
        actions = np.asarray(chunk.actions)
        if actions.shape != self._shape or actions.dtype.kind not in "fiu":
            raise ChunkRefused(
                RefusalReason.WRONG_SHAPE,
                f"chunk is {actions.shape} of {actions.dtype}, expected {self._shape} numbers",
            )
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(actions.astype(np.float32))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise ChunkRefused(
                RefusalReason.NON_FINITE,
                f"chunk has {int(bad.sum())} non-finite values, the first in action {row}, entry {column}",
            )
        if chunk.step > step:
            raise ChunkRefused(RefusalReason.FROM_FUTURE, f"chunk answers step {chunk.step}, now is step {step}")
        if self._held and chunk.step < self._held[-1].step:
            raise ChunkRefused(
                RefusalReason.OUT_OF_ORDER,
                f"chunk answers step {chunk.step}, one of step {self._held[-1].step} is held",
            )
        if step - chunk.step >= self._shape[0]:
            raise ChunkRefused(
                RefusalReason.ELAPSED,
                f"all {self._shape[0]} actions of the chunk of step {chunk.step} have elapsed at step {step}",
            )
