"""Time stamps are judged: seconds, another unit, or left out, and always said with numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexvla.episodes.times import judge

STEPS = np.arange(12)
EPOCH = 1_700_000_000


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (EPOCH * 10**9 + STEPS * 20_000_000, "nanoseconds since 1970"),
        (EPOCH * 10**6 + STEPS * 20_000, "microseconds since 1970"),
        (EPOCH * 10**3 + STEPS * 20, "milliseconds since 1970"),
        ((EPOCH * 10**9 + STEPS * 20_000_000).astype(np.uint64), "nanoseconds since 1970"),
        (STEPS * 20_000_000, "nanoseconds, 0 to 220000000; read as seconds from the first step, 0 to 0.22, 50 Hz"),
        (STEPS * 20_000.0, "microseconds, 0.0 to 220000.0; read as seconds"),
        (STEPS * 20, "milliseconds, 0 to 220; read as seconds"),
    ],
)
def test_other_units_become_seconds_from_the_first_step(stored: np.ndarray, said: str) -> None:
    times = judge(stored)
    assert times.seconds is not None
    np.testing.assert_array_equal(times.seconds, STEPS / 50)
    assert said in times.said[0]
    assert times.fps == 50.0


@pytest.mark.parametrize("start", [0.0, 123.5, float(EPOCH)])
def test_seconds_stay_as_they_are(start: float) -> None:
    times = judge(start + STEPS / 50, fps=50.0)
    np.testing.assert_array_equal(times.seconds, start + STEPS / 50)
    assert times.said == ()


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.zeros(12), "all 12 time stamps are 0; left out"),
        (np.where(STEPS == 4, 0.0, STEPS / 50), "runs backwards at step 4, from 0.06 to 0; left out"),
        (np.where(STEPS > 10, np.nan, STEPS / 50), "1 of 12 time stamps are not finite, first at step 11; left out"),
        (np.where(STEPS == 3, np.inf, STEPS / 50), "1 of 12 time stamps are not finite, first at step 3; left out"),
        (STEPS * 1e-15, "no rate of 0.2 to 1000 Hz in any of seconds, milliseconds"),
        (np.array([5, 4, 3], np.uint64), "runs backwards at step 1, from 5 to 4; left out"),
    ],
)
def test_what_is_no_time_is_left_out(stored: np.ndarray, said: str) -> None:
    times = judge(stored)
    assert times.seconds is None
    assert len(times.said) == 1
    assert said in times.said[0]


def test_a_gap_is_told() -> None:
    times = judge(np.where(STEPS > 5, 100 - 0.12, 0) + STEPS / 50)
    assert times.seconds is not None
    assert "1 gaps, the first of 99.9 s between steps 5 and 6, where 0.02 s are usual" in times.said[0]


def test_a_rate_that_the_stamps_contradict_is_told() -> None:
    times = judge(STEPS / 50, fps=10.0)
    np.testing.assert_array_equal(times.seconds, STEPS / 50)
    assert "0.02 s apart, 50 Hz, but fps says 10 Hz" in times.said[0]


def test_a_declared_rate_settles_the_unit() -> None:
    assert judge(STEPS * 2, fps=500.0).unit == 1e-3
    assert judge(STEPS * 2).unit == 1.0


def test_numbers_of_steps_are_named_as_what_they_may_be() -> None:
    assert "may be numbers of steps" in judge(STEPS).said[0]


def test_no_rate_is_guessed_from_uneven_stamps() -> None:
    assert judge(np.cumsum(np.array([0.0, 0.1, 0.5, 0.02, 0.9, 0.3, 0.04, 0.6]))).fps is None
    assert judge(STEPS / 29.97).fps == 30_000 / 1001


@given(
    unit=st.sampled_from([10**9, 10**6, 10**3]),
    rate=st.sampled_from([5, 10, 25, 50, 100]),
    steps=st.integers(2, 50),
    since=st.booleans(),
)
def test_every_unit_at_every_rate_gives_the_seconds_exactly(unit: int, rate: int, steps: int, since: bool) -> None:
    ticks = np.arange(steps) * (unit // rate)
    times = judge(ticks + (EPOCH * unit if since else 0), fps=float(rate))
    assert times.seconds is not None
    np.testing.assert_array_equal(times.seconds, ticks / unit)


@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_nothing_breaks_it(values: list[float]) -> None:
    stored = np.array(values)
    times = judge(stored)
    if times.seconds is None:
        assert times.said
    else:
        assert times.seconds.shape == stored.shape
        assert np.isfinite(times.seconds).all()
