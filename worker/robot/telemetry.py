"""What the robot did in the last seconds, for the page's curves and for the state that belongs to a frame."""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dexvla.live.messages import Samples

_STEPS = 1000


class Row(NamedTuple):
    """One control step. time: time.monotonic(), s; robot_time: the robot's clock, s; state (S,), action (A,) sent."""

    step: int
    time: float
    robot_time: float
    state: NDArray[np.float32]
    action: NDArray[np.float32]


class Telemetry:
    """A ring that one thread writes and others read; the newest `_STEPS` control steps."""

    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=_STEPS)

    def add(self, row: Row) -> None:
        self._rows.append(row)

    @property
    def newest(self) -> Row | None:
        return self._rows[-1] if self._rows else None

    def since(self, step: int) -> list[Row]:
        """Rows after `step`, oldest first."""
        newest = self.newest
        if newest is None or newest.step <= step:
            return []
        rows = snapshot(self._rows)
        return rows[max(0, len(rows) - (rows[-1].step - step)) :]

    def at(self, step: int) -> Row | None:
        """The row of `step`, None if it is no longer kept."""
        return next((row for row in self.since(step - 1)[:1] if row.step == step), None)


def samples(rows: list[Row]) -> Samples | None:
    """Rows as they go to the page; None for none."""
    if not rows:
        return None
    return Samples(
        step=[row.step for row in rows],
        time=[round(row.time, 4) for row in rows],
        state=rounded(np.stack([row.state for row in rows])),
        action=rounded(np.stack([row.action for row in rows])),
    )


def rounded(values: NDArray[np.floating[Any]]) -> list[list[float]]:
    """(N, D) with five decimals: a hundredth of a millimetre or of a milliradian is finer than any robot here."""
    result: list[list[float]] = np.round(values.astype(np.float64), 5).tolist()
    return result


def snapshot(ring: deque[Any]) -> list[Any]:
    """A copy of a ring that another thread appends to; copying may then fail, and is tried again."""
    while True:
        try:
            return list(ring)
        except RuntimeError:
            continue
