"""Points of curves put together in buckets: of each curve how many values, the lowest, the highest and their sum.

A bucket of level L stands for 16 ** L points that follow each other; level 0 is the point itself. Sixteen buckets are
one row (`backend.tables.curve_block`), written once when it is full, so that a point costs a row in 256. What is not
full yet is read from the level below.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Point = tuple[int, int, dict[str, Any]]  # step, attempt, values
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FACTOR = 16  # buckets a row, and buckets of the level below in one
POINTS = FACTOR * FACTOR  # points in a row of level 1
_INTEGERS, _FLOATS = np.dtype("<i8"), np.dtype("<f8")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Of one curve, by bucket: (N,) each. Without a value: count 0, low inf, high -inf, total 0."""

    count: Floats
    low: Floats
    high: Floats
    total: Floats


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """N buckets in order of steps. first, last: steps (N,); attempt (N,): of the last point; points (N,): how many."""

    first: Integers
    last: Integers
    attempt: Integers
    points: Integers
    curves: dict[str, Curve]

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of_points(cls, points: Sequence[Point]) -> Self:
        """One bucket a point."""
        steps = np.array([step for step, _, _ in points], np.int64)
        curves = {}
        for name in dict.fromkeys(name for _, _, values in points for name in values):
            value = np.array([values.get(name, np.nan) for _, _, values in points], np.float64)
            none = np.isnan(value)
            curves[name] = Curve(
                count=(~none).astype(np.float64),
                low=np.where(none, np.inf, value),
                high=np.where(none, -np.inf, value),
                total=np.where(none, 0.0, value),
            )
        attempts = np.array([attempt for _, attempt, _ in points], np.int64)
        return cls(first=steps, last=steps, attempt=attempts, points=np.ones(len(points), np.int64), curves=curves)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One behind the other; a curve that a part does not have has no values there."""
        names = list(dict.fromkeys(name for part in parts for name in part.curves))
        none = {len(part): _no_values(len(part)) for part in parts}
        curves = {}
        for name in names:
            of_parts = [part.curves.get(name) or none[len(part)] for part in parts]
            curves[name] = Curve(
                count=np.concatenate([one.count for one in of_parts]),
                low=np.concatenate([one.low for one in of_parts]),
                high=np.concatenate([one.high for one in of_parts]),
                total=np.concatenate([one.total for one in of_parts]),
            )
        return cls(
            first=np.concatenate([part.first for part in parts]),
            last=np.concatenate([part.last for part in parts]),
            attempt=np.concatenate([part.attempt for part in parts]),
            points=np.concatenate([part.points for part in parts]),
            curves=curves,
        )

    def __getitem__(self, part: slice) -> Self:
        curves = {
            name: Curve(count=one.count[part], low=one.low[part], high=one.high[part], total=one.total[part])
            for name, one in self.curves.items()
        }
        return type(self)(
            first=self.first[part],
            last=self.last[part],
            attempt=self.attempt[part],
            points=self.points[part],
            curves=curves,
        )

    def merged(self, starts: Integers) -> Self:
        """Fewer: each from one of `starts` (ascending, from 0 on) up to the next."""
        ends = np.append(starts[1:], len(self)) - 1
        curves = {
            name: Curve(
                count=np.add.reduceat(one.count, starts),
                low=np.minimum.reduceat(one.low, starts),
                high=np.maximum.reduceat(one.high, starts),
                total=np.add.reduceat(one.total, starts),
            )
            for name, one in self.curves.items()
        }
        return type(self)(
            first=self.first[starts],
            last=self.last[ends],
            attempt=self.attempt[ends],
            points=np.add.reduceat(self.points, starts),
            curves=curves,
        )

    def at_most(self, limit: int) -> Self:
        """Of about as many points each, so that there are `limit` at most and a few finer ones at the ends do not look
        wilder than the others."""
        before = np.cumsum(self.points) - self.points
        width = max(-(-int(self.points.sum()) // limit), int(self.points.max()))
        group = before // width
        return self.merged(np.flatnonzero(np.diff(group, prepend=-1)))


def _no_values(count: int) -> Curve:
    return Curve(
        count=np.zeros(count),
        low=np.full(count, np.inf),
        high=np.full(count, -np.inf),
        total=np.zeros(count),
    )


def packed(buckets: Buckets) -> tuple[list[str], bytes]:
    """(names, data) of sixteen buckets, as a row holds them. Little-endian, on every machine."""
    assert len(buckets) == FACTOR
    whole = np.stack([buckets.first, buckets.last, buckets.attempt]).astype(_INTEGERS)
    curves = [np.stack([one.count, one.low, one.high, one.total]) for one in buckets.curves.values()]
    data = np.stack(curves).astype(_FLOATS).tobytes() if curves else b""
    return list(buckets.curves), whole.tobytes() + data


def unpacked(level: int, rows: Iterable[tuple[list[str], bytes]]) -> Buckets:
    """Buckets of rows (names, data) that follow each other."""
    whole: list[Integers] = []
    curves: dict[str, list[tuple[int, Floats]]] = {}
    size = 3 * FACTOR * _INTEGERS.itemsize
    for number, (names, data) in enumerate(rows):
        whole.append(np.frombuffer(data[:size], _INTEGERS).reshape(3, FACTOR))
        values = np.frombuffer(data[size:], _FLOATS).reshape(len(names), 4, FACTOR)
        for name, value in zip(names, values, strict=True):
            curves.setdefault(name, []).append((number, value))
    first, last, attempt = np.stack(whole, axis=1).reshape(3, -1)
    out = {}
    for name, parts in curves.items():
        value = np.empty((4, len(whole), FACTOR))
        if len(parts) < len(whole):
            none = _no_values(1)
            value[:] = np.stack([none.count, none.low, none.high, none.total])[:, :, None]
        value[:, [number for number, _ in parts]] = np.stack([one for _, one in parts], axis=1)
        count, low, high, total = value.reshape(4, -1)
        out[name] = Curve(count=count, low=low, high=high, total=total)
    points = np.full(len(first), FACTOR**level, np.int64)
    return Buckets(first=first, last=last, attempt=attempt, points=points, curves=out)


def one_level_up(buckets: Buckets) -> Buckets:
    """Sixteen of each sixteen times sixteen."""
    return buckets.merged(np.arange(0, len(buckets), FACTOR))
