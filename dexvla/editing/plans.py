"""What people ask for -> pieces of sources. Steps count from 0; every range names its first and its last step."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.traits import moves, rests
from dexvla.errors import UserError
from dexvla.spec import MOST_PIECES, Edit, EditKind, Piece
from dexvla.spec.survey import Run

_RATE = 50.0  # Hz, for episodes that do not say theirs
_MARGIN_S = 0.2  # of a rest stays beside each motion: a gripper presses, an arm settles


def keep(steps: int, first: int, last: int) -> Edit:
    """Steps first..last, both of them. Raises UserError for a range that the episode does not have."""
    _check_range(steps, first, last)
    return Edit(kind=EditKind.KEEP, pieces=(Piece(start=first, end=last + 1),))


def cut(steps: int, first: int, last: int) -> Edit:
    """All but steps first..last. Raises UserError for a range that is not there, or where nothing is left."""
    _check_range(steps, first, last)
    pieces = tuple(Piece(start=a, end=b) for a, b in ((0, first), (last + 1, steps)) if a < b)
    if not pieces:
        raise UserError(f"steps {first}..{last} are the whole episode; leave some, or delete the episode")
    return Edit(kind=EditKind.CUT, pieces=pieces)


def split(steps: int, at: Sequence[int]) -> tuple[Edit, ...]:
    """Parts that begin at step 0 and at each of `at`. Raises UserError for steps out of order or out of bounds."""
    borders = [0, *at, steps]
    if not at or any(before >= after for before, after in pairwise(borders)):
        raise UserError(
            f"split at {', '.join(map(str, at)) or 'nothing'}: expected rising steps from 1 to {steps - 1}, each the "
            "first of a new part"
        )
    return tuple(Edit(kind=EditKind.SPLIT, pieces=(Piece(start=a, end=b),)) for a, b in pairwise(borders))


def join(steps: Sequence[int]) -> Edit:
    """Whole sources of these lengths one behind the other. Raises UserError for fewer than two."""
    if not 2 <= len(steps) <= MOST_PIECES:
        raise UserError(f"{len(steps)} episodes cannot be joined; name 2 to {MOST_PIECES}")
    return Edit(
        kind=EditKind.JOIN, pieces=tuple(Piece(source=number, start=0, end=end) for number, end in enumerate(steps))
    )


def rename(steps: int) -> Edit:
    """The episode as it is; its new names are added by whoever asks."""
    return Edit(kind=EditKind.RENAME, pieces=(Piece(start=0, end=steps),))


def idle_runs(qpos: NDArray[np.floating], fps: float | None, *, ends_only: bool) -> tuple[Run, ...]:
    """Stretches of steps that may be dropped since nothing moves: of every rest all but a fifth of a second beside a
    motion. ends_only: at the beginning and the end of the episode alone. () where nothing rests, or nothing moves."""
    rate, steps = fps or _RATE, len(qpos)
    moving = moves(qpos, rate)
    if not moving.any():
        return ()
    margin = round(_MARGIN_S * rate)
    found = []
    for run in rests(moving, rate):
        first = run.start == 0
        last = run.end == steps
        if ends_only and not (first or last):
            continue
        start = run.start if first else run.start + margin
        end = run.end if last else run.end - margin
        if start < end:
            found.append(Run(start=start, end=end))
    return tuple(found)


def without(steps: int, runs: Sequence[Run]) -> Edit:
    """All but those stretches. Raises UserError where they hold everything, nothing, or are too many."""
    kept, position = [], 0
    for run in runs:
        if not position <= run.start < run.end <= steps:
            raise UserError(
                f"steps {run.start}..{run.end - 1} cannot be dropped of {steps}: expected rising stretches that do not "
                "overlap"
            )
        if run.start > position:
            kept.append(Piece(start=position, end=run.start))
        position = run.end
    if position < steps:
        kept.append(Piece(start=position, end=steps))
    if not runs:
        raise UserError("there is nothing to drop")
    if not kept:
        raise UserError("nothing would be left; delete the episode instead")
    if len(kept) > MOST_PIECES:
        raise UserError(f"{len(kept)} pieces would be left, {MOST_PIECES} are allowed; drop the ends alone")
    return Edit(kind=EditKind.DROP_IDLE, pieces=tuple(kept))


def _check_range(steps: int, first: int, last: int) -> None:
    if not 0 <= first <= last < steps:
        raise UserError(f"steps {first}..{last} are none of this episode; it has 0..{steps - 1}")
