"""Drafts and label revisions."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, field_validator, model_validator

from backend.episodes.models import LabelState
from backend.schemas import In, Out
from dexvla.episodes.format import control_token_in

MAX_TEXT = 400


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
    def _plain(cls, value: str) -> str:
        text = " ".join(value.split())
        if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text):
            raise ValueError("control characters do not belong in a substep")
        if wrong := control_token_in(text):
            raise ValueError(f"the text holds {wrong}; take it out")
        return text


class DraftIn(In):
    """A save. edit: the number that the page last saw; an older one than the stored is refused with 409."""

    edit: int = Field(ge=0)
    segments: list[SegmentIn] = Field(min_length=1, max_length=5000)
    instruction: str = Field(min_length=1, max_length=1000)
    success: bool | None = None

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
