"""Steps out of line: a loss or gradient norm that is not finite, or far above what the last steps had."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any

MARKED = 10.0  # times the median: worth a mark, whatever the run does about it
_RECENT = 100  # steps that the median is taken of
_ENOUGH = 20  # before there are so many, only what is not finite is out of line: losses fall fast at first
MOST_IN_A_ROW = 10


class Verdict(StrEnum):
    ORDINARY = "ordinary"
    SPIKE = "spike"
    NOT_FINITE = "not_finite"


class Spikes:
    """Judges a step by the ones before it that were taken.

    skip: a step of more than so many times the median loss or gradient norm is left out, and so is one that is not
    finite; None: all finite ones are taken. The same on all processes, and after a resume, for it sees global values.
    """

    def __init__(self, skip: float | None) -> None:
        self._skip = skip
        self._losses: deque[float] = deque(maxlen=_RECENT)
        self._norms: deque[float] = deque(maxlen=_RECENT)
        self.in_a_row = 0

    def judge(self, loss: float, norm: float) -> Verdict:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return Verdict.NOT_FINITE
        return Verdict.SPIKE if self._times(loss, norm) > MARKED else Verdict.ORDINARY

    def takes(self, loss: float, norm: float) -> bool:
        """Whether the step goes into the weights."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return False
        return self._skip is None or self._times(loss, norm) <= self._skip

    def remember(self, loss: float, norm: float, *, taken: bool) -> None:
        self.in_a_row = 0 if taken else self.in_a_row + 1
        if taken:
            self._losses.append(loss)
            self._norms.append(norm)

    def _times(self, loss: float, norm: float) -> float:
        """How many times the usual the step has, of whichever is further out of line."""
        if len(self._norms) < _ENOUGH:
            return 0.0
        usual = ((loss, median(self._losses)), (norm, median(self._norms)))
        return max((value / middle if middle > 0 else 0.0) for value, middle in usual)

    def to_json(self) -> dict[str, Any]:
        return {"losses": list(self._losses), "norms": list(self._norms), "in_a_row": self.in_a_row}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """As it was when `to_json` was kept with the trainer's state; a state from before has none."""
        self._losses.extend(_floats(kept.get("losses", ())))
        self._norms.extend(_floats(kept.get("norms", ())))
        self.in_a_row = int(kept.get("in_a_row", 0))


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]
