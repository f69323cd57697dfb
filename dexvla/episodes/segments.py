"""One text a step, and the same as segments: coded by their lengths."""

from collections.abc import Sequence
from itertools import groupby

from dexvla.spec import Segment


def run_length(labels: Sequence[str]) -> tuple[Segment, ...]:
    """One text a step, (T,) -> segments that cover 0..T without gap."""
    segments, position = [], 0
    for text, group in groupby(labels):
        end = position + len(list(group))
        segments.append(Segment(start=position, end=end, text=text))
        position = end
    return tuple(segments)


def per_step(segments: Sequence[Segment]) -> list[str]:
    """Segments -> one text a step."""
    return [segment.text for segment in segments for _ in range(segment.end - segment.start)]


def first_steps(segments: Sequence[Segment], steps: int) -> tuple[Segment, ...]:
    """What the first steps have of the segments."""
    return tuple(
        segment if segment.end <= steps else segment.model_copy(update={"end": steps})
        for segment in segments
        if segment.start < steps
    )
