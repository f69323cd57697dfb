"""Topics with clocks of their own, brought to the steps of one clock: of each topic the message nearest in time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Steps:
    """ticks: (T,) ns, times of the steps. nearest: of each topic, (T,), which of its messages belongs to each step.
    errors: of each topic, the largest distance of such a message from its step, s."""

    ticks: NDArray[np.int64]
    nearest: dict[str, NDArray[np.int64]]
    errors: dict[str, float]

    @property
    def fps(self) -> float | None:
        """Hz, from the middle distance between steps; None for a single one."""
        if len(self.ticks) < 2:
            return None
        return 1e9 / float(np.median(np.diff(self.ticks)))


def resample(times: dict[str, NDArray[np.int64]], clock: str) -> Steps:
    """`times`: (N,) ns of each topic, rising. The steps are the messages of `clock` for which all topics have begun and
    none has ended, give or take half a step. May be none."""
    ticks = times[clock]
    slack = int(np.median(np.diff(ticks))) // 2 if len(ticks) > 1 else 0
    first = max(int(stamps[0]) for stamps in times.values()) - slack
    last = min(int(stamps[-1]) for stamps in times.values()) + slack
    ticks = ticks[(ticks >= first) & (ticks <= last)]
    nearest = {topic: nearest_of(stamps, ticks) for topic, stamps in times.items()}
    errors = {
        topic: float(np.abs(times[topic][places] - ticks).max(initial=0)) / 1e9 for topic, places in nearest.items()
    }
    return Steps(ticks, nearest, errors)


def nearest_of(stamps: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each tick the place of the nearest of `stamps` (rising); the earlier one of two that are as near."""
    after = np.clip(np.searchsorted(stamps, ticks), 1, max(len(stamps) - 1, 1))
    if len(stamps) == 1:
        return np.zeros(len(ticks), np.int64)
    before = after - 1
    return np.where(ticks - stamps[before] <= stamps[after] - ticks, before, after).astype(np.int64)
