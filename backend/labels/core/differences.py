"""Where two states of labels disagree."""

from collections.abc import Sequence
from itertools import pairwise

from backend.core.schemas import Out
from backend.tables.segment import LabelSegment


class DifferenceOut(Out):
    """Steps start .. end on which two states have different texts."""

    start: int
    end: int
    left: str
    right: str


def differences(left: Sequence[LabelSegment], right: Sequence[LabelSegment]) -> list[DifferenceOut]:
    """The longest stretches of steps on which both sides say one thing each, and not the same."""
    found: list[DifferenceOut] = []
    edges = sorted({0, *(one.end for one in left), *(one.end for one in right)})
    a = b = 0
    for start, end in pairwise(edges):
        while a < len(left) and left[a].end <= start:
            a += 1
        while b < len(right) and right[b].end <= start:
            b += 1
        one = left[a].text if a < len(left) else ""
        other = right[b].text if b < len(right) else ""
        if one == other:
            continue
        last = found[-1] if found else None
        if last is not None and (last.end, last.left, last.right) == (start, one, other):
            found[-1] = last.model_copy(update={"end": end})
        else:
            found.append(DifferenceOut(start=start, end=end, left=one, right=other))
    return found
