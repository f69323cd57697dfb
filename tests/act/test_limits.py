import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dexvla.act.limits import ActionRefused, SafetyLimits

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
    with pytest.raises(ValueError, match="steps a second"):
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
