"""Labels carried over by time warping, on motions that are known to be the same but for their timing."""

import numpy as np
import pytest

from dexvla.segmentation.warping import Labelled, features, nearest, transfer

TEXTS = ("Reach", "Grasp", "Lift")


def motion(parts: tuple[int, int, int], *, seed: int = 0, noise: float = 0.01) -> np.ndarray:
    """(T, 4): three phases of the given lengths, each moving other dimensions."""
    rows = [
        np.column_stack([np.linspace(0, 1, parts[0]), np.zeros(parts[0]), np.zeros(parts[0]), np.ones(parts[0])]),
        np.column_stack([np.ones(parts[1]), np.zeros(parts[1]), np.zeros(parts[1]), np.linspace(1, 0, parts[1])]),
        np.column_stack([np.ones(parts[2]), np.linspace(0, 1, parts[2]), np.zeros(parts[2]), np.zeros(parts[2])]),
    ]
    moved = np.concatenate(rows)
    return np.asarray(moved + np.random.default_rng(seed).normal(0, noise, moved.shape), np.float32)


def labelled(parts: tuple[int, int, int], key: str, texts: tuple[str, ...] = TEXTS) -> Labelled:
    return Labelled(key=key, qpos=motion(parts, seed=len(key)), starts=(0, parts[0], parts[0] + parts[1]), texts=texts)


def test_boundaries_are_carried_over_to_another_timing() -> None:
    target = motion((80, 60, 160), seed=5)
    taken = transfer(target, 50, [(labelled((120, 40, 100), "a"), 0.1), (labelled((60, 80, 120), "bb"), 0.1)])
    assert taken.texts == TEXTS
    assert taken.starts == (0, pytest.approx(80, abs=5), pytest.approx(140, abs=5))
    assert min(taken.confidences) > 0.8
    assert [one.key for one in taken.sources] == ["a", "bb"]


def test_the_sequence_is_that_of_the_most_and_nearest_and_dissent_costs_confidence() -> None:
    target = motion((80, 60, 160), seed=5)
    agree = [(labelled((90, 50, 150), "a"), 0.1), (labelled((70, 60, 150), "bb"), 0.1)]
    odd = (labelled((80, 60, 160), "ccc", ("Wave", "Wave again", "Bow")), 0.1)
    taken = transfer(target, 50, [odd, *agree])
    assert taken.texts == TEXTS
    assert max(taken.confidences) == pytest.approx(2 / 3 * np.exp(-0.1), abs=0.01)


def test_the_nearest_are_those_that_move_alike_whatever_their_timing() -> None:
    same = [motion((60 + 20 * index, 50, 100), seed=index) for index in range(4)]
    other = [motion((80, 60, 100), seed=index)[:, [1, 0, 3, 2]] for index in range(6)]
    found = nearest(features(motion((90, 60, 120), seed=9)), [features(one) for one in other + same], count=4)
    assert {index for index, _ in found} == {6, 7, 8, 9}
    assert [distance for _, distance in found] == sorted(distance for _, distance in found)
    assert found[-1][1] < 0.5


@pytest.mark.parametrize("steps", [1, 2, 50, 95, 96, 191, 192, 1000])
def test_features_have_one_length_and_the_ends_of_the_motion(steps: int) -> None:
    ramp = np.linspace(0, 1, steps)[:, None]
    values = features(ramp)
    assert values.shape == (96, 1)
    assert values[0, 0] == pytest.approx(ramp[0, 0], abs=0.02)
    assert values[-1, 0] == pytest.approx(ramp[-1, 0], abs=0.02)


@pytest.mark.parametrize("steps", [3, 4, 7])
def test_an_episode_with_hardly_more_steps_than_substeps(steps: int) -> None:
    taken = transfer(motion((20, 20, 20))[:steps], 50, [(labelled((40, 30, 50), "a"), 0.2)])
    assert list(taken.starts) == sorted(set(taken.starts))
    assert taken.starts[-1] < steps
