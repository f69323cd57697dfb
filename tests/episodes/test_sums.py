"""Sums without rounding: against exact fractions, and the same however the rows are cut and laid."""

import math
from fractions import Fraction
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dexvla.episodes.sums import Sums, together

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=FLOATS)


@given(ROWS)
def test_sums_are_exact_over_the_whole_range_of_float32(rows: np.ndarray) -> None:
    sums = Sums.of(rows)
    for dimension, column in enumerate(rows.T):
        numbers = [Fraction(float(value)) for value in column]
        assert Fraction(sums.total[dimension], 2**149) == sum(numbers)
        assert Fraction(sums.squares[dimension], 2**298) == sum(number**2 for number in numbers)
        assert sums.mean()[dimension] == float(sum(numbers) / len(numbers))
    assert (sums.low, sums.high) == (tuple(rows.min(axis=0).astype(float)), tuple(rows.max(axis=0).astype(float)))


@given(ROWS, st.randoms(use_true_random=False))
def test_parts_in_any_order_add_up_to_the_whole(rows: np.ndarray, random: Random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    cut = len(rows) // 2
    parts = [rows[order[:cut]], rows[order[cut:]]]
    assert together(Sums.of(part) for part in parts if len(part)) == Sums.of(rows)


def test_deviations_are_right_where_float64_loses_them() -> None:
    rows = np.float32([[16777216.0], [16777217.0], [16777218.0]])
    assert Sums.of(rows).deviation() == [math.sqrt(4 / 3)], "16777217 is 16777216 in float32"
    assert Sums.of(np.full((1000, 2), 0.1, np.float32)).deviation() == [0.0, 0.0]
    assert Sums.of(rows[:1]).deviation() == [0.0]


def test_an_ordinary_episode_agrees_with_numpy() -> None:
    rows = np.random.default_rng(0).normal(size=(5000, 14)).astype(np.float32)
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(Sums.of(rows).mean(), wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(Sums.of(rows).deviation(), wide.std(axis=0, ddof=1), rtol=1e-12)
