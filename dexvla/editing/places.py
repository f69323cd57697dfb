"""Where steps and stretches of the sources come to lie in a new episode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dexvla.spec import Piece


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A stretch of a source in the new episode: start <= step < end. index: which one of that source's."""

    source: int
    index: int
    start: int
    end: int


def offsets(pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """Each piece with its first step in the new episode."""
    position = 0
    for piece in pieces:
        yield position, piece
        position += piece.steps


def joints(pieces: Sequence[Piece]) -> tuple[int, ...]:
    """First steps of the new episode after each joint. Where a source simply goes on there is none."""
    before: Piece | None = None
    found = []
    for position, piece in offsets(pieces):
        if before is not None and (before.source, before.end) != (piece.source, piece.start):
            found.append(position)
        before = piece
    return tuple(found)


def placed(spans: Sequence[Sequence[tuple[int, int]]], pieces: Sequence[Piece]) -> tuple[Placed, ...]:
    """The spans (start, end) of each source, clipped and moved, in the order of the new steps.

    What is cut away whole is not among them. Parts of one span that come to lie side by side are one again.
    """
    found: list[Placed] = []
    for position, piece in offsets(pieces):
        for index, (start, end) in enumerate(spans[piece.source]):
            first, last = max(start, piece.start), min(end, piece.end)
            if first >= last:
                continue
            here = Placed(
                source=piece.source,
                index=index,
                start=position + first - piece.start,
                end=position + last - piece.start,
            )
            if found and (found[-1].source, found[-1].index, found[-1].end) == (here.source, index, here.start):
                here = Placed(source=here.source, index=index, start=found.pop().start, end=here.end)
            found.append(here)
    return tuple(found)


def placed_steps(steps: Sequence[Sequence[int]], pieces: Sequence[Piece]) -> tuple[int, ...]:
    """The steps of each source where they are in the new episode, rising; those that were cut away are left out."""
    found = [
        position + step - piece.start
        for position, piece in offsets(pieces)
        for step in steps[piece.source]
        if piece.start <= step < piece.end
    ]
    return tuple(sorted(set(found)))
