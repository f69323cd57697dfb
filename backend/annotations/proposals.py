"""What a draft starts from: the labels that a file brought, or one empty segment."""

from collections.abc import Sequence

from backend.annotations.schemas import MAX_TEXT, Provenance, SegmentOut
from dexvla.episodes.manifest import run_length


def from_labels(labels: Sequence[str], source: str | None) -> list[SegmentOut]:
    """One text a step -> segments. source: the file's label_source."""
    known = {member.value for member in Provenance}
    provenance = Provenance(source) if source in known else Provenance.IMPORTED
    texts = [" ".join(text.split())[:MAX_TEXT] for text in labels]
    return [
        SegmentOut(start=segment.start, end=segment.end, text=segment.text, provenance=provenance)
        for segment in run_length(texts)
    ]


def empty(steps: int) -> list[SegmentOut]:
    return [SegmentOut(start=0, end=steps, text="", provenance=Provenance.HUMAN)]
