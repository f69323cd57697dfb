import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dexvla.act.limits import ActionRefused, SafetyLimits

pytestmark = pytest.mark.clockless

LOW, HIGH = np.float32([-1, -2, 0]), np.float32([1, 2, 1])


def test_an_action_inside_passes_unchanged():
    action = np.float32([0.5, -1.5, 0.25])
    limited = SafetyLimits(low=LOW, high=HIGH).apply(action)
    np.testing.assert_array_equal(limited.action, action)
    assert not limited.acted


def test_position_is_clamped_and_told():
    limited = SafetyLimits(low=LOW, high=HIGH).apply(np.float32([3, -1, -0.5]))
    np.testing.assert_array_equal(limited.action, np.float32([1, -1, 0]))
    assert limited.position.tolist() == [True, False, True]
    assert not limited.velocity.any()


def test_the_change_is_limited_against_the_last_command():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=5.0, control_hz=50)  # 0.1 a step
    limited = limits.apply(np.float32([0.9, 0.05, 0.5]), last_sent=np.float32([0, 0, 0.5]))
    np.testing.assert_allclose(limited.action, [0.1, 0.05, 0.5], atol=1e-6)
    assert limited.velocity.tolist() == [True, False, False]


def test_each_entry_may_have_its_own_velocity():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=np.array([1.0, 2.0, 50.0]), control_hz=10)
    limited = limits.apply(np.float32([1, 1, 1]), last_sent=np.float32([0, 0, 0]))
    np.testing.assert_allclose(limited.action, [0.1, 0.2, 1.0], atol=1e-6)


def test_from_outside_the_limits_it_moves_back_at_the_allowed_speed():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=1.0, control_hz=10)
    limited = limits.apply(np.float32([0, 0, 0]), last_sent=np.float32([1.5, 0, 0]))
    np.testing.assert_allclose(limited.action, [1.4, 0, 0], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_refused_not_clamped(bad):
    with pytest.raises(ActionRefused, match="non-finite values at 1 "):
        SafetyLimits(low=LOW, high=HIGH).apply(np.float32([0, bad, 0]))


def test_a_wrong_shape_is_refused():
    with pytest.raises(ActionRefused, match=r"shape \(2,\), expected \(3,\)"):
        SafetyLimits(low=LOW, high=HIGH).apply(np.zeros(2, np.float32))


def test_a_velocity_limit_needs_the_last_command():
    with pytest.raises(ValueError, match="last_sent"):
        SafetyLimits(low=LOW, high=HIGH, max_velocity=1.0, control_hz=10).apply(np.zeros(3, np.float32))


def test_limits_that_limit_nothing_are_refused():
    with pytest.raises(ValueError, match="finite"):
        SafetyLimits(low=np.float32([np.nan]), high=np.float32([1]))
    with pytest.raises(ValueError, match="low at most"):
        SafetyLimits(low=HIGH, high=LOW)
    with pytest.raises(ValueError, match="Hz"):
        SafetyLimits(low=LOW, high=HIGH, max_velocity=1.0)
    with pytest.raises(ValueError, match="above 0"):
        SafetyLimits(low=LOW, high=HIGH, max_velocity=0.0, control_hz=10)


actions = hnp.arrays(np.float32, 3, elements=st.floats(-100, 100, width=32))


@given(wanted=actions, last=actions)
def test_whatever_is_asked_the_step_is_small_and_inside_once_it_was_inside(wanted, last):
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=5.0, control_hz=50)
    limited = limits.apply(wanted, last_sent=last)
    assert (np.abs(limited.action.astype(float) - last) <= 0.1 + 1e-4).all()
    inside = (last >= LOW) & (last <= HIGH)
    assert (limited.action[inside] >= LOW[inside]).all()
    assert (limited.action[inside] <= HIGH[inside]).all()
    changed = limited.action != wanted
    assert (changed <= (limited.position | limited.velocity)).all()


# --- acceleration ---------------------------------------------------------------------------------------------

HZ = 50.0


def run_to(limits: SafetyLimits, target: np.ndarray, *, steps: int) -> np.ndarray:
    """(steps, 3): what is sent, from rest at 0, while `target` is asked for."""
    before = last = np.zeros(3, np.float32)
    sent = []
    for _ in range(steps):
        before, last = last, limits.apply(target, last_sent=last, before=before).action
        sent.append(last)
    return np.stack(sent)


def test_a_far_target_is_reached_without_overshoot_within_both_limits():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=3.0, max_acceleration=60.0, control_hz=HZ)
    sent = run_to(limits, np.float32([0.9, -1.5, 0.3]), steps=60)
    np.testing.assert_array_equal(sent[-1], np.float32([0.9, -1.5, 0.3]))
    velocity = np.diff(sent, axis=0, prepend=0) * HZ
    assert np.abs(velocity).max() <= 3.0 + 1e-4
    assert np.abs(np.diff(velocity, axis=0, prepend=0)).max() * HZ <= 60.0 + 1e-2
    assert (np.abs(sent) <= np.abs(sent[-1]) + 1e-6).all(), "never beyond the target"


def test_a_target_that_moves_within_the_limits_is_followed():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=3.0, max_acceleration=60.0, control_hz=HZ)
    wave = 0.4 * (1 - np.cos(2 * np.pi * 0.5 * np.arange(200) / HZ))
    wanted = np.stack([wave, -wave, np.zeros(200)], axis=1).astype(np.float32)
    before = last = wanted[0]
    for target in wanted[1:]:
        before, last = last, limits.apply(target, last_sent=last, before=before).action
        np.testing.assert_allclose(last, target, atol=2e-3)


def test_braking_decelerates_and_then_stays():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=3.0, max_acceleration=60.0, control_hz=HZ)
    before, last = np.float32([0, 0, 0.5]), np.float32([0.06, -0.06, 0.5])
    steps = []
    for _ in range(6):
        before, last = last, limits.brake(last_sent=last, before=before).action
        steps.append(last - before)
    np.testing.assert_allclose(np.stack(steps)[:3, 0], [0.036, 0.012, 0], atol=1e-6)
    assert (steps[-1] == 0).all()
    assert last[1] == pytest.approx(-0.108, abs=1e-6)


def test_braking_ends_at_a_position_limit():
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=3.0, max_acceleration=60.0, control_hz=HZ)
    sent = limits.brake(last_sent=np.float32([0.99, 0, 0]), before=np.float32([0.93, 0, 0])).action
    assert sent[0] == 1.0


def test_without_an_acceleration_limit_braking_is_to_stay():
    limits = SafetyLimits(low=LOW, high=HIGH)
    last = np.float32([0.5, 0, 0])
    np.testing.assert_array_equal(limits.brake(last_sent=last, before=np.float32([0.3, 0, 0])).action, last)
    np.testing.assert_array_equal(limits.brake(last_sent=last).action, last)


@given(wanted=st.lists(actions, min_size=1, max_size=30))
def test_whatever_is_asked_in_a_row_both_limits_hold_and_positions_stay_inside(wanted):
    limits = SafetyLimits(low=LOW, high=HIGH, max_velocity=5.0, max_acceleration=100.0, control_hz=HZ)
    before = last = np.zeros(3, np.float32)
    for target in wanted:
        before, last = last, limits.apply(target, last_sent=last, before=before).action
        assert (np.abs(last - before) <= 0.1 + 1e-5).all()
        assert (last >= LOW).all()
        assert (last <= HIGH).all()
