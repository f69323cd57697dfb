"""Which steps are learnt from, by who commanded them."""

import pytest

from dexvla.episodes.format import StepSource
from dexvla.episodes.learnable import learnable
from dexvla.spec import EpisodeEntry, Stretch

_LETTERS = {"s": StepSource.SCRIPTED, "h": StepSource.HUMAN, "p": StepSource.POLICY, "x": StepSource.DISTURBANCE,
            "-": StepSource.HOLD}  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("ssss", ()),
        ("pppp", ()),  # a policy alone: its own success may be learnt from
        ("hh--hh", ()),
        ("ssxxss", ((0, 2), (4, 6))),
        ("xss", ((1, 3),)),
        ("ppphhpp", ((3, 5),)),  # what was corrected is not taught
        ("ppss--pp", ((2, 6),)),
        ("xx", ()),
    ],
)
def test_mishaps_and_what_was_corrected_are_left_out(sources: str, expected: tuple[tuple[int, int], ...]) -> None:
    found = learnable([_LETTERS[letter] for letter in sources])
    assert tuple((stretch.start, stretch.end) for stretch in found) == expected


def test_a_file_that_does_not_say_is_learnt_from_as_a_whole() -> None:
    assert learnable(None) == ()


@pytest.mark.parametrize("learn", [((0, 11),), ((4, 6), (2, 3)), ((3, 3),)])
def test_stretches_that_do_not_fit_are_refused(learn: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"learn must be rising stretches within 10 steps"):
        EpisodeEntry(
            path="a.hdf5",
            identity="v2:0",
            steps=10,
            sim=True,
            instruction="x",
            learn=tuple(Stretch(start=start, end=end) for start, end in learn),
        )
