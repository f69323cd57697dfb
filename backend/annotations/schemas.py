"""Drafts and label revisions."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from backend.episodes.limits import MAX_INSTRUCTION, MAX_SEGMENTS, MAX_TEXT, one_line, wrong_with
from backend.episodes.models import LabelState
from backend.schemas import In, Out


def _plain(value: str) -> str:
    """On one line; ValueError for what no model may read as text."""
    text = one_line(value)
    if wrong := wrong_with(text):
        raise ValueError(f"the text holds {wrong}")
    return text


class Provenance(StrEnum):
    """Where a substep's text came from."""

    HUMAN = "human"
    SCRIPTED = "scripted"
    MACHINE_ACCEPTED = "machine_accepted"
    MACHINE_EDITED = "machine_edited"
    IMPORTED = "imported"


class SegmentIn(In):
    """start <= step < end. text may be empty while the draft is worked on."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    text: str = Field("", max_length=MAX_TEXT)
    provenance: Provenance = Provenance.HUMAN

    @field_validator("text")
    @classmethod
    def _text(cls, value: str) -> str:
        return _plain(value)


class DraftIn(In):
    """A save. edit: the number that the page last saw; an older one than the stored is refused with 409."""

    edit: int = Field(ge=0)
    segments: list[SegmentIn] = Field(min_length=1, max_length=MAX_SEGMENTS)
    instruction: str = Field(min_length=1, max_length=MAX_INSTRUCTION)
    success: bool | None = None

    @field_validator("instruction")
    @classmethod
    def _instruction(cls, value: str) -> str:
        return _plain(value)

    @model_validator(mode="after")
    def _gapless(self) -> Self:
        position = 0
        for number, segment in enumerate(self.segments):
            if segment.start != position or segment.end <= segment.start:
                raise ValueError(
                    f"segment {number} is {segment.start}..{segment.end}, expected it to start at {position} "
                    "and to hold at least one step: substeps have neither gaps nor overlaps"
                )
            position = segment.end
        return self


class SegmentOut(Out):
    start: int
    end: int
    text: str
    provenance: Provenance


class RevisionOut(Out):
    id: str
    number: int
    edit: int
    segments: list[SegmentOut]
    instruction: str
    success: bool | None
    created_at: datetime
    published_by_name: str | None


class DraftOut(Out):
    """edit 0: nothing was saved yet, the segments are what the file brought (proposals) or one empty segment."""

    episode_id: str
    steps: int
    edit: int
    segments: list[SegmentOut]
    instruction: str
    success: bool | None
    label_state: LabelState
    updated_at: datetime | None
    updated_by_name: str | None
    published: RevisionOut | None


class PublishIn(In):
    edit: int = Field(ge=0, description="Of the draft as the page shows it")
