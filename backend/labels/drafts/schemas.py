"""Drafts, the work on them, and label revisions."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from backend.core.limits import MAX_SEGMENTS, MAX_STEPS
from backend.core.schemas import In, Out, Prose
from backend.labels.core.differences import DifferenceOut
from backend.labels.core.segments import Instruction, SegmentIn, SegmentOut, Tag
from backend.tables.document import Quality, Tier
from backend.tables.draft import WorkState
from backend.tables.episode import LabelState
from backend.tables.label_history import HistoryKind

MAX_PARAPHRASES = 50
MAX_TAGS = 50
MAX_EDIT = 2**31 - 1
Rater = Annotated[int, Field(ge=0, le=1, description="0: the labels that are published; 1: a second person's, blind")]


def _distinct(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


class DraftIn(In):
    """A save. edit: the number that the page last saw; an older one than the stored is refused with 409.

    Of the fields that are about the episode (from `instruction` on), what is left out stays as it is. They are kept
    with tier `substep`, rater 0.
    """

    edit: int = Field(ge=0, le=MAX_EDIT)
    lease: str | None = Field(None, max_length=32, description="Token of the claim under which the page works")
    segments: list[SegmentIn] = Field(min_length=1, max_length=MAX_SEGMENTS, fail_fast=True)
    instruction: Instruction | None = None
    success: bool | None = None
    failure_step: int | None = Field(
        None, ge=0, le=MAX_STEPS, description="Where it went wrong; only if success is false"
    )
    paraphrases: Annotated[list[Instruction], AfterValidator(_distinct)] | None = Field(
        None, max_length=MAX_PARAPHRASES, description="Other wordings of the instruction"
    )
    quality: Quality | None = None
    tags: Annotated[list[Tag], AfterValidator(_distinct)] | None = Field(None, max_length=MAX_TAGS)

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

    @model_validator(mode="after")
    def _failed(self) -> Self:
        if self.failure_step is not None and self.success is not False:
            raise ValueError("failure_step: only an episode that failed has a step where it failed; set success: false")
        return self


class DocumentOut(Out):
    """What people say about an episode."""

    segments: list[SegmentOut]
    instruction: str
    success: bool | None
    failure_step: int | None
    paraphrases: list[str]
    quality: Quality | None
    tags: list[str]


class RevisionOut(DocumentOut):
    """restores: number of the older revision whose labels these are again."""

    id: str
    tier: Tier
    number: int
    edit: int
    created_at: datetime
    published_by_name: str | None
    restores: int | None


class HistoryOut(Out):
    """An entry of a draft's history; its labels are at /draft/history/{id}. about: whose work was reviewed."""

    id: str
    tier: Tier
    rater: int
    edit: int
    kind: HistoryKind
    created_at: datetime
    by_name: str | None
    about_name: str | None
    comment: str


class HistoryEntryOut(HistoryOut, DocumentOut):
    pass


class DiffOut(Out):
    """left, right: ids of history entries or revisions, or "draft". fields: what else differs."""

    left: str
    right: str
    steps: int
    differences: list[DifferenceOut]
    agreement: float = Field(description="Share of steps with the same text")
    fields: dict[str, tuple[Any, Any]]
    left_segments: list[SegmentOut]
    right_segments: list[SegmentOut]


class LeaseOut(Out):
    """Who works on the labels right now. mine: me, perhaps in another window; token: only for whoever claims."""

    holder_id: str
    holder_name: str | None
    mine: bool
    seconds_left: float
    token: str | None = None


class NoteOut(Out):
    id: str
    edit: int
    start: int
    end: int
    text: str
    author_id: str | None
    author_name: str | None
    created_at: datetime
    resolved_at: datetime | None
    resolved_by_name: str | None


class SavedOut(DocumentOut):
    """A draft as it is stored.

    edit 0: nothing was saved yet, the segments are what the file brought (proposals) or one empty segment.
    """

    episode_id: str
    tier: Tier
    rater: int
    steps: int
    edit: int
    state: WorkState
    label_state: LabelState
    updated_at: datetime | None
    updated_by_name: str | None


class DraftOut(SavedOut):
    """read_only: why this person cannot save at the moment, for people to read; None: they can."""

    assignee_id: str | None
    assignee_name: str | None
    submitted_by_id: str | None
    submitted_by_name: str | None
    lease: LeaseOut | None
    read_only: str | None
    may_review: bool
    notes: list[NoteOut]
    published: RevisionOut | None


class ClaimIn(In):
    """take_over: although somebody else works on it or was given it. token: of a claim that this page has already."""

    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    take_over: bool = False
    token: str | None = Field(None, max_length=32)


class HeartbeatIn(In):
    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    token: str = Field(max_length=32)


class HeartbeatOut(Out):
    """edit: of the stored draft; another one than the page's own means that it changed elsewhere. seconds_left: 0 once
    this person has submitted the labels, which ends the lease."""

    seconds_left: float
    edit: int
    state: WorkState


class ReleaseIn(In):
    """give_back: others get it again from "next for me"; what was saved stays."""

    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    token: str | None = Field(None, max_length=32)
    give_back: bool = False


class SubmitIn(In):
    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    edit: int = Field(ge=0, le=MAX_EDIT)


class NoteIn(In):
    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    edit: int = Field(ge=0, le=MAX_EDIT)
    start: int = Field(ge=0, le=MAX_STEPS)
    end: int = Field(gt=0, le=MAX_STEPS)
    text: Prose = Field(min_length=1, max_length=2000)


class NotePatch(In):
    resolved: bool


class SegmentNote(In):
    start: int = Field(ge=0, le=MAX_STEPS)
    end: int = Field(gt=0, le=MAX_STEPS)
    text: Prose = Field(min_length=1, max_length=2000)


class ReviewIn(In):
    """A rejection says why: a comment, notes about segments, or both. publish: an approved one at once."""

    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    edit: int = Field(ge=0, le=MAX_EDIT)
    approve: bool
    comment: Prose = Field("", max_length=4000)
    notes: list[SegmentNote] = Field([], max_length=200)

    @model_validator(mode="after")
    def _why(self) -> Self:
        if not self.approve and not self.comment.strip() and not self.notes:
            raise ValueError("say in a comment, or in notes about segments, what should be different")
        return self


class ReopenIn(In):
    tier: Tier = Tier.SUBSTEP
    rater: Rater = 0
    comment: Prose = Field("", max_length=4000)


class PublishIn(In):
    """looked_at: this person looked at the substeps that a script or a file brought; without it they are refused."""

    edit: int = Field(ge=0, le=MAX_EDIT, description="Of the draft as the page shows it")
    tier: Tier = Tier.SUBSTEP
    looked_at: bool = False


class RollbackIn(In):
    """revision_id: whose labels become the newest again. edit: of the draft as the page shows it."""

    revision_id: str = Field(max_length=32)
    edit: int = Field(ge=0, le=MAX_EDIT)
