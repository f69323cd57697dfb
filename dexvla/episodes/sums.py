"""Sums of numbers without any rounding: parts add up to the whole, in whatever order and however they were cut.

A float32 is a whole number of 2^-149, its square one of 2^-298. Python's integers add these exactly; the one rounding
is where a mean or a deviation becomes a float.

Legend: n rows, D dimensions.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dexvla.spec import Spec

_UNIT = 149  # numbers are counted in 2^-149, the smallest float32, and squares in 2^-298
_MANTISSA = 24  # bits of a float32


class Sums(Spec):
    """Of n rows of D float32 numbers. total: in 2^-149; squares: in 2^-298; low and high: of each dimension."""

    count: int = Field(ge=1)
    total: tuple[int, ...]
    squares: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> "Sums":
        """values: (n, D), n >= 1, finite; what is no float32 is rounded to one."""
        rows = np.asarray(values, np.float32)
        mantissas, exponents = np.frexp(rows.astype(np.float64))
        whole = (mantissas * 2**_MANTISSA).astype(np.int64)  # exact; value = whole * 2^(exponent - 24)
        squared = whole * whole
        lowest = int(exponents.min())
        width = int(exponents.max()) - lowest + 1
        dimensions = rows.shape[1]
        place = ((exponents - lowest) + width * np.arange(dimensions)).ravel()

        def by_exponent(parts: NDArray[np.int64]) -> list[list[int]]:
            """(D, width) sums of parts below 2^25 each: float64 adds them exactly up to 2^28 rows."""
            found = np.bincount(place, parts.ravel().astype(np.float64), minlength=dimensions * width)
            return found.astype(np.int64).reshape(dimensions, width).tolist()

        shifts = [lowest + number - _MANTISSA + _UNIT for number in range(width)]
        upper, lower = by_exponent(squared >> _MANTISSA), by_exponent(squared & (2**_MANTISSA - 1))
        return cls(
            count=len(rows),
            total=tuple(sum(map(_shifted, sums, shifts)) for sums in by_exponent(whole)),
            squares=tuple(
                sum(
                    _shifted((up << _MANTISSA) + low, 2 * shift)
                    for up, low, shift in zip(ups, lows, shifts, strict=True)
                )
                for ups, lows in zip(upper, lower, strict=True)
            ),
            low=tuple(rows.min(axis=0).astype(float).tolist()),
            high=tuple(rows.max(axis=0).astype(float).tolist()),
        )

    def mean(self) -> list[float]:
        """(D,), each the float64 that is nearest to the true mean."""
        return [total / (self.count << _UNIT) for total in self.total]

    def deviation(self) -> list[float]:
        """(D,) with n - 1; nought for one row."""
        if self.count == 1:
            return [0.0] * len(self.total)
        parts = self.count * (self.count - 1) << 2 * _UNIT
        return [
            math.sqrt((self.count * squares - total * total) / parts)
            for total, squares in zip(self.total, self.squares, strict=True)
        ]


def together(parts: Iterable[Sums]) -> Sums:
    """Of all rows of all parts, one at least: what `Sums.of` makes of them laid one after the other."""
    found = list(parts)
    return Sums(
        count=sum(part.count for part in found),
        total=tuple(map(sum, zip(*(part.total for part in found), strict=True))),
        squares=tuple(map(sum, zip(*(part.squares for part in found), strict=True))),
        low=tuple(map(min, zip(*(part.low for part in found), strict=True))),
        high=tuple(map(max, zip(*(part.high for part in found), strict=True))),
    )


def _shifted(number: int, by: int) -> int:
    """number * 2^by, which is whole: smaller numbers than 2^-149 there are none."""
    return number << by if by >= 0 else number >> -by
