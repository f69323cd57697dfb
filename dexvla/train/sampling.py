"""Which sample stands at which place of a run's endless sequence: a function of the seed and the place alone.

So any number of processes, any split of the batch and any resume see the same order.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096  # places whose sources are drawn at once


class SampleOrder:
    """place -> index into the concatenation of `sizes` samples per source.

    Each source is walked in random order without repetition before it starts anew; sources are drawn by weight x size,
    so weight 2 shows a source's samples twice as often as weight 1.
    """

    def __init__(self, *, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        if any(size < 1 for size in sizes) or len(sizes) != len(weights):
            raise ValueError(f"sizes {list(sizes)} and weights {list(weights)} must be equally many and sizes positive")
        self._sizes = tuple(sizes)
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        share = np.asarray(sizes, np.float64) * np.asarray(weights, np.float64)
        self._share = share / share.sum()
        self._seed = seed
        self._permutation = lru_cache(maxsize=2 * len(sizes))(self._make_permutation)
        self._block = lru_cache(maxsize=4)(self._make_block)
        self._used: list[NDArray[np.int64]] = [np.zeros(len(sizes), np.int64)]  # per block: draws before it

    def __getitem__(self, place: int) -> int:
        sources, ranks = self._block(place // _BLOCK)
        source, rank = int(sources[place % _BLOCK]), int(ranks[place % _BLOCK])
        size = self._sizes[source]
        return int(self._starts[source] + self._permutation(source, rank // size)[rank % size])

    def _make_permutation(self, source: int, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, 1, source, epoch]).permutation(self._sizes[source])

    def _draw(self, block: int) -> NDArray[np.int64]:
        if len(self._sizes) == 1:
            return np.zeros(_BLOCK, np.int64)
        return np.random.default_rng([self._seed, 2, block]).choice(len(self._sizes), size=_BLOCK, p=self._share)

    def _make_block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(source, how often that source was drawn before) for each place of the block."""
        while len(self._used) <= block:
            counts = np.bincount(self._draw(len(self._used) - 1), minlength=len(self._sizes))
            self._used.append(self._used[-1] + counts)
        sources = self._draw(block)
        ranks = np.zeros(_BLOCK, np.int64)
        for source in range(len(self._sizes)):
            mine = sources == source
            ranks[mine] = self._used[block][source] + np.arange(int(mine.sum()))
        return sources, ranks


class MicroBatches:
    """Batch sampler: endless lists of (place, sample index), this process's part of each accumulation step.

    The global batch of a step is `batch_size` x `processes` x `accumulation` places in a row.
    """

    def __init__(
        self, order: SampleOrder, *, batch_size: int, accumulation: int, process: int, processes: int, first_step: int
    ) -> None:
        self._order = order
        self._batch_size = batch_size
        self._processes = processes
        self._process = process
        self._first = first_step * accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        micro = self._first
        while True:
            start = (micro * self._processes + self._process) * self._batch_size
            yield [(place, self._order[place]) for place in range(start, start + self._batch_size)]
            micro += 1
