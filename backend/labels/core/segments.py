"""Segments of an episode's steps, and the texts that people write about them."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from backend.core.limits import MAX_INSTRUCTION, MAX_STEPS, MAX_TEXT, one_line, wrong_with
from backend.core.schemas import In, Out, without_marks
from backend.tables.segment import LabelSegment, Provenance

MAX_TAG = 64


def _line(value: object) -> object:
    """On one line, before its length is looked at. ValueError for direction marks."""
    return one_line(without_marks(value)) if isinstance(value, str) else value


def _plain(text: str) -> str:
    """ValueError for what no model may read as text."""
    if wrong := wrong_with(text):
        raise ValueError(f"the text holds {wrong}")
    return text


_Before, _After = BeforeValidator(_line), AfterValidator(_plain)


LabelText = Annotated[str, Field(max_length=MAX_TEXT), _Before, _After]


FullLabelText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), _Before, _After]


Instruction = Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTION), _Before, _After]


Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG), _Before, _After]


class SegmentIn(In):
    """start <= step < end. text may be empty while the draft is worked on."""

    start: int = Field(ge=0, le=MAX_STEPS)
    end: int = Field(gt=0, le=MAX_STEPS)
    text: LabelText = ""
    provenance: Provenance = Provenance.HUMAN
    source: str | None = Field(None, max_length=64, description="What proposed it, where a machine did")
    confidence: float | None = Field(None, ge=0, le=1, description="Of that proposal")

    def stored(self) -> LabelSegment:
        return LabelSegment(self.start, self.end, self.text, self.provenance, self.source, self.confidence)


class SegmentOut(Out):
    start: int
    end: int
    text: str
    provenance: Provenance
    source: str | None = None
    confidence: float | None = None
