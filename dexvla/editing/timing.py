"""When the steps of a new episode were.

Pieces of one source in their order keep its clock: every time stays exactly what it was, and a cut is a gap of it. A
piece of another source, or from further ahead, has no place on that clock: it is shifted as a whole so that it begins
one step after the piece before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.reader import Episode
from dexvla.spec import Piece

_RATE = 50.0  # Hz, where nothing says one


@dataclass(frozen=True, kw_only=True)
class Clock:
    """seconds: (T,) or None. shifts: what was added to the times of each piece, seconds. notes: what was done."""

    seconds: NDArray[np.float64] | None
    shifts: tuple[float, ...]
    notes: tuple[str, ...] = ()


def clock_of(episodes: Sequence[Episode], pieces: Sequence[Piece], *, fps: float | None) -> Clock:
    """fps: of the sources, Hz, as far as they say one."""
    stamps = [episodes[piece.source].timestamp for piece in pieces]
    there = [each for each in stamps if each is not None]
    if len(there) < len(stamps):
        notes = ("timestamp: not all sources have one; left out",) if there else ()
        return Clock(seconds=None, shifts=(0.0,) * len(pieces), notes=notes)
    shifts: list[float] = []
    parts: list[NDArray[np.float64]] = []
    shifted = 0
    for number, (piece, each) in enumerate(zip(pieces, there, strict=True)):
        shift = 0.0
        if number:
            before = pieces[number - 1]
            if before.source == piece.source and before.end <= piece.start:
                shift = shifts[-1]
            else:
                shift = float(parts[-1][-1] + _period(each, fps) - each[piece.start])
                shifted += 1
        shifts.append(shift)
        parts.append(each[piece.start : piece.end] + shift)
    notes = ()
    if shifted:
        what = "a piece continues" if shifted == 1 else f"{shifted} pieces continue"
        notes = (f"timestamp: {what} one step after the piece before; their own clocks differ",)
    return Clock(seconds=np.concatenate(parts), shifts=tuple(shifts), notes=notes)


def _period(stamps: NDArray[np.float64], fps: float | None) -> float:
    if fps is not None:
        return 1 / fps
    between = np.diff(stamps)
    middle = float(np.median(between)) if len(between) else 0.0
    return middle if middle > 0 else 1 / _RATE
