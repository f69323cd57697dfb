"""Put a known sequence of substeps onto boundary candidates: which candidate ends which substep.

Dynamic programming over the candidates: the chosen boundaries together are as sure, and the substeps as usual in
length, as they can be. Where there are fewer candidates than boundaries, places between them are used, and said to be
guesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import UserError

STRONG = 0.5  # confidence from which a candidate counts when boundaries are counted
_GUESS = -0.6  # what a boundary without a candidate is worth beside the 0 .. 1 of one with it
_GUESS_CONFIDENCE = 0.1
_GRID = 64  # places for guesses over the whole episode
_LEAST_SECONDS = 0.1
_SPREAD = 0.05  # least standard deviation of a substep's part of the episode
_LOOSE = 2.0  # without examples: standard deviation in equal parts of the episode


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How long a substep is as a part of its episode, over examples: mean and standard deviation, 0 .. 1."""

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """starts: first step of each substep, starts[0] = 0. confidences: of the boundary at which it starts, 1 for the
    first. guessed: indices of substeps that start where there is no candidate. unused: strong candidates that are no
    boundary now. expected, found: boundaries of the sequence, strong candidates of the episode."""

    starts: tuple[int, ...]
    confidences: tuple[float, ...]
    guessed: tuple[int, ...]
    unused: tuple[int, ...]
    expected: int
    found: int

    @property
    def mismatch(self) -> str | None:
        """In words for people, None where the counts agree and nothing had to be guessed."""
        parts = []
        if self.found != self.expected:
            parts.append(f"the sequence has {self.expected} boundaries, the motion shows {self.found} clear ones")
        if self.guessed:
            parts.append(f"{len(self.guessed)} boundaries are guesses, nothing in the motion is near them")
        return "; ".join(parts) or None


def align(
    found: Sequence[tuple[int, float]],
    *,
    steps: int,
    substeps: int,
    fps: float,
    usual: Sequence[Usual] | None = None,
) -> Alignment:
    """found: candidates as (step, confidence 0 .. 1), 0 < step < steps. usual: of each substep, from examples.

    Raises UserError for an episode with fewer steps than substeps.
    """
    if not 1 <= substeps <= steps:
        raise UserError(f"{substeps} substeps do not fit into {steps} steps; shorten the sequence")
    strong = [step for step, confidence in found if confidence >= STRONG]
    places, worth = _places(found, steps, substeps)
    chosen = _best(places, worth, steps=steps, substeps=substeps, fps=fps, usual=usual)
    sure = dict(found)
    starts = (0, *(int(places[index]) for index in chosen))
    return Alignment(
        starts=starts,
        confidences=(1.0, *(sure.get(start, _GUESS_CONFIDENCE) for start in starts[1:])),
        guessed=tuple(index for index, start in enumerate(starts) if index and start not in sure),
        unused=tuple(step for step in strong if step not in starts),
        expected=substeps - 1,
        found=len(strong),
    )


def usual_parts(examples: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[Usual]:
    """examples: starts of the substeps of episodes with the same sequence; lengths: their steps."""
    parts = np.array(
        [np.diff([*starts, length]) / length for starts, length in zip(examples, lengths, strict=True)], np.float64
    )
    return [
        Usual(mean=float(mean), deviation=float(deviation))
        for mean, deviation in zip(parts.mean(axis=0), parts.std(axis=0), strict=True)
    ]


def _places(
    found: Sequence[tuple[int, float]], steps: int, substeps: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where a boundary may be, rising, and what it is worth there."""
    worth = {step: _GUESS for step in np.linspace(0, steps, max(_GRID, 2 * substeps) + 1).astype(int).tolist()[1:-1]}
    if steps <= 2 * substeps + _GRID:
        worth = dict.fromkeys(range(1, steps), _GUESS)
    worth |= dict(found)
    places = sorted(step for step in worth if 0 < step < steps)
    return np.array(places, np.int64), np.array([worth[step] for step in places])


def _best(
    places: NDArray[np.int64],
    worth: NDArray[np.float64],
    *,
    steps: int,
    substeps: int,
    fps: float,
    usual: Sequence[Usual] | None,
) -> list[int]:
    """Indices into places of the substeps - 1 boundaries."""
    least = min(_LEAST_SECONDS * fps, steps / substeps / 2)
    edges = np.concatenate([[0], places, [steps]])
    length = edges[None, :] - edges[:, None]  # (from, to)
    score = np.full(len(edges), -np.inf)
    score[0] = 0.0
    gain = np.concatenate([[0.0], worth, [0.0]])
    back = []
    for index in range(substeps):
        reach = score[:, None] + _fit(length / steps, index, substeps, usual) + gain[None, :]
        reach[length < max(1, least)] = -np.inf
        back.append(reach.argmax(axis=0))
        score = reach.max(axis=0)
        score[-1 if index < substeps - 1 else slice(0, -1)] = -np.inf
    assert np.isfinite(score[-1])
    chosen = [len(edges) - 1]
    for previous in reversed(back):
        chosen.append(int(previous[chosen[-1]]))
    return [index - 1 for index in reversed(chosen[1:-1])]


def _fit(part: NDArray[np.float64], index: int, substeps: int, usual: Sequence[Usual] | None) -> NDArray[np.float64]:
    """How usual these lengths are: minus half the squared deviation in standard deviations, at least -4."""
    if usual is None:
        mean, deviation = 1 / substeps, _LOOSE / substeps
    else:
        mean, deviation = usual[index].mean, max(usual[index].deviation, _SPREAD)
    return np.asarray(np.maximum(-0.5 * ((part - mean) / deviation) ** 2, -4.0))
