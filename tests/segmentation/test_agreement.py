"""Agreement of two people's labels against the definitions, step by step, on labels of all kinds."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexvla.episodes.segments import per_step, run_length
from dexvla.segmentation.agreement import boundaries, confusion, kappa, match_boundaries, same_share

TEXTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=30)
PAIRS = st.integers(1, 30).flatmap(
    lambda steps: st.tuples(
        *[st.lists(st.sampled_from("abc"), min_size=steps, max_size=steps)] * 2,
    )
)


@given(PAIRS)
def test_the_confusion_counts_steps(pair: tuple[list[str], list[str]]) -> None:
    left, right = (run_length(one) for one in pair)
    counts = confusion(left, right)
    assert counts.total() == len(pair[0])
    for (one, other), steps in counts.items():
        assert steps == sum((a, b) == (one, other) for a, b in zip(*pair, strict=True))
    assert same_share(counts) == pytest.approx(sum(a == b for a, b in zip(*pair, strict=True)) / len(pair[0]))


@given(TEXTS)
def test_boundaries_are_where_the_text_changes(texts: list[str]) -> None:
    segments = run_length(texts)
    assert per_step(segments) == texts
    assert boundaries(segments) == [step for step in range(1, len(texts)) if texts[step] != texts[step - 1]]


POINTS = st.lists(st.integers(0, 60), max_size=5, unique=True).map(sorted)


@given(POINTS, POINTS, st.sampled_from([0, 3, 10, 25]))
def test_the_matching_is_the_largest_there_is(left: list[int], right: list[int], tolerance: int) -> None:
    def largest() -> int:
        few, many = sorted((left, right), key=len)
        for size in range(len(few), 0, -1):
            for chosen in combinations(few, size):
                for partners in permutations(many, size):
                    if all(abs(a - b) <= tolerance for a, b in zip(chosen, partners, strict=True)):
                        return size
        return 0

    assert match_boundaries(left, right, tolerance).matched == largest()


def test_f1_and_kappa_of_a_known_case() -> None:
    found = match_boundaries([100, 200, 300], [108, 226, 310, 400], 10)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert found.f1 == pytest.approx(2 * 2 / 7)
    assert match_boundaries([], [], 10).f1 == 1.0
    # the example of Cohen's paper in its usual form: 20 and 15 agree of 50, 5 and 10 do not
    left = run_length(["yes"] * 25 + ["no"] * 25)
    right = run_length(["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15)
    assert kappa(confusion(left, right)) == pytest.approx(0.4)
    same = run_length(["a"] * 5)
    assert kappa(confusion(same, same)) == 1.0
