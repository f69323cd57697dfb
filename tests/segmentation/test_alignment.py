"""Sequences put onto boundary candidates."""

import itertools

import numpy as np
import pytest

from dexvla.errors import UserError
from dexvla.segmentation.alignment import Usual, align, usual_parts

TRUTH = (0, 100, 130, 220)
CLEAR = [(100, 0.8), (130, 0.8), (220, 0.7)]


def test_the_clear_candidates_are_taken_and_counts_agree() -> None:
    put = align([(40, 0.2), *CLEAR, (280, 0.1)], steps=300, substeps=4, fps=50)
    assert put.starts == TRUTH
    assert put.confidences == (1.0, 0.8, 0.8, 0.7)
    assert (put.guessed, put.unused, put.mismatch) == ((), (), None)


def test_too_many_candidates_are_told_and_the_usual_lengths_decide() -> None:
    usual = usual_parts([TRUTH, (0, 110, 140, 230)], [300, 310])
    assert usual[0].mean == pytest.approx((100 / 300 + 110 / 310) / 2)
    put = align([(20, 0.85), (60, 0.85), *CLEAR], steps=300, substeps=4, fps=50, usual=usual)
    assert put.starts == TRUTH
    assert put.unused == (20, 60)
    assert put.mismatch == "the sequence has 3 boundaries, the motion shows 5 clear ones"


def test_missing_candidates_are_guessed_where_the_usual_lengths_say() -> None:
    usual = [Usual(mean=part, deviation=0.02) for part in np.diff([*TRUTH, 300]) / 300]
    put = align([CLEAR[0], CLEAR[2]], steps=300, substeps=4, fps=50, usual=usual)
    assert (put.starts[1], put.starts[3]) == (100, 220)
    assert put.starts[2] == pytest.approx(130, abs=6)
    assert put.guessed == (2,)
    assert put.confidences[2] < 0.2
    assert "2 clear ones; 1 boundaries are guesses" in str(put.mismatch)


@pytest.mark.parametrize("steps", [1, 2, 5, 30, 400])
@pytest.mark.parametrize("substeps", [1, 2, 5])
def test_any_episode_that_has_room_gets_all_substeps(steps: int, substeps: int) -> None:
    if substeps > steps:
        with pytest.raises(UserError, match="do not fit"):
            align([], steps=steps, substeps=substeps, fps=50)
        return
    put = align([], steps=steps, substeps=substeps, fps=50)
    assert len(put.starts) == substeps
    assert put.starts[0] == 0
    assert all(before < after < steps for before, after in itertools.pairwise(put.starts))


def test_it_is_the_best_choice_of_all() -> None:
    """Against every choice of three of nine candidates, scored as the module says."""
    random = np.random.default_rng(1)
    for _ in range(10):
        steps = np.sort(random.choice(np.arange(20, 380), 9, replace=False))
        sure = random.uniform(0.3, 1.0, 9)
        usual = [Usual(mean=part, deviation=0.1) for part in random.dirichlet(np.full(4, 8.0))]
        put = align(list(zip(steps.tolist(), sure.tolist(), strict=True)), steps=400, substeps=4, fps=50, usual=usual)

        def score(starts: tuple[int, ...], found: dict[int, float], usual: list[Usual] = usual) -> float:
            parts = np.diff([*starts, 400]) / 400
            fit = sum(max(-0.5 * ((p - u.mean) / 0.1) ** 2, -4.0) for p, u in zip(parts, usual, strict=True))
            return fit + sum(found.get(start, -0.6) for start in starts[1:])

        found = dict(zip(steps.tolist(), sure.tolist(), strict=True))
        choices = [
            (0, *choice) for choice in itertools.combinations(steps.tolist(), 3) if min(np.diff([0, *choice, 400])) >= 5
        ]
        assert score(put.starts, found) >= max(score(choice, found) for choice in choices) - 1e-9
