"""What a draft starts from (the labels that a file brought, or one empty segment), and whose labels they are."""

from collections.abc import Iterable, Sequence
from typing import Any

from backend.tables.segment import LabelSegment, Provenance
from dexvla.episodes.format import LabelSource


def proposed(segments: Iterable[Any], source: str | None) -> tuple[LabelSegment, ...]:
    """(start, end, text) of a file's labels -> segments. source: the file's label_source."""
    known = {member.value for member in Provenance}
    provenance = Provenance(source) if source in known else Provenance.IMPORTED
    return tuple(LabelSegment(start, end, text, provenance) for start, end, text in segments)


def empty(steps: int) -> tuple[LabelSegment, ...]:
    return (LabelSegment(0, steps, "", Provenance.HUMAN),)


def label_source(segments: Sequence[LabelSegment]) -> LabelSource:
    """Of all labels of an episode: what its segments agree on, or a person, who put different ones together."""
    sources = {segment.provenance for segment in segments}
    return LabelSource(sources.pop().value) if len(sources) == 1 else LabelSource.HUMAN
