"""Boundary candidates, tracks, proposed labellings and verdicts as they travel."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from backend.core.limits import MAX_CAMERA_NAME, MAX_SEGMENTS, MAX_STEPS
from backend.core.schemas import In, Out
from backend.labels.core.segments import FullLabelText, LabelText
from backend.tables.proposal import ProposalSource, ProposalState
from backend.tables.proposal_verdict import Verdict

MAX_FRAMES = 200
Confidence = Annotated[float, Field(ge=0, le=1)]


# --- read from the motion ---------------------------------------------------------------------------------------


class Track(Out):
    """values: one a step. gripper: 0 closed .. 1 open; speed: of all joints of the arm together, rad/s, smoothed."""

    name: str
    kind: Literal["gripper", "speed"]
    arm: str
    unit: str
    values: list[float]


class TracksOut(Out):
    """fps: steps a second; where the episode does not say, 50 is assumed."""

    steps: int
    fps: float
    tracks: list[Track]


class BoundaryPart(Out):
    """One reading. arm: of the robot; None where it is about all of it."""

    source: ProposalSource
    arm: str | None
    step: int
    confidence: Confidence


class BoundaryOut(Out):
    """step: the first of the later substep, that of the surest part. confidence: that at least one part is right."""

    step: int
    confidence: Confidence
    parts: list[BoundaryPart]


class CandidatesOut(Out):
    """settings: of the readings. fps: see TracksOut."""

    episode_id: str
    steps: int
    fps: float
    settings: dict[str, Any]
    boundaries: list[BoundaryOut]


# --- proposed labellings ----------------------------------------------------------------------------------------


class TemplateIn(In):
    """Put a sequence of substeps onto the boundary candidates. sequence: default, the dataset's template; without one,
    what most published episodes with the same instruction have; without those, the vocabulary in its order."""

    source: Literal[ProposalSource.TEMPLATE]
    sequence: list[FullLabelText] | None = Field(None, min_length=1, max_length=200)


class SimilarIn(In):
    """Take labels over from the published episodes of the dataset that move most alike."""

    source: Literal[ProposalSource.SIMILAR]
    neighbours: int = Field(5, ge=1, le=20)


class VisionIn(In):
    """Ask the vision-language model of the settings. frames: of each camera, evenly over the episode. cameras: default
    the first one."""

    source: Literal[ProposalSource.VISION]
    frames: int = Field(48, ge=4, le=MAX_FRAMES)
    cameras: list[Annotated[str, Field(max_length=MAX_CAMERA_NAME)]] | None = Field(None, min_length=1, max_length=3)


ProposalIn = Annotated[TemplateIn | SimilarIn | VisionIn, Field(discriminator="source")]


class ProposedSegment(Out):
    start: int
    end: int
    text: str
    confidence: Confidence


class ProposalOut(Out):
    """report: template: template_from, examples, expected, found, guessed, unused, mismatch (in words, or null);
    similar: basis, compared, left, neighbours [{episode_id, number, distance}]; vision: model, seconds, sheets."""

    id: str
    source: ProposalSource
    state: ProposalState
    segments: list[ProposedSegment]
    settings: dict[str, Any]
    report: dict[str, Any]
    error: str | None
    created_at: datetime
    asked_by_name: str | None


class VisionOut(Out):
    """host: where frames would be sent; the key stays on the server."""

    configured: bool
    host: str | None
    model: str | None


class SourcesOut(Out):
    vision: VisionOut


# --- verdicts ---------------------------------------------------------------------------------------------------


class VerdictIn(In):
    """end None: about the boundary at `start` alone. text: as it was proposed."""

    proposal_id: str | None = Field(None, max_length=32)
    source: ProposalSource
    verdict: Verdict
    confidence: Confidence | None = None
    start: int = Field(ge=0, le=MAX_STEPS)
    end: int | None = Field(None, gt=0, le=MAX_STEPS)
    text: LabelText | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"the substep is {self.start}..{self.end}, expected it to hold at least one step")
        return self


class VerdictsIn(In):
    verdicts: list[VerdictIn] = Field(min_length=1, max_length=MAX_SEGMENTS, fail_fast=True)


class CalibrationOut(Out):
    """Proposals with a confidence of low to high. likely: how probable it is that the next one is accepted as it is,
    (accepted + 1) / (all + 2) (Laplace's rule of succession)."""

    low: float
    high: float
    accepted: int
    edited: int
    rejected: int
    likely: float


class SourceStatistics(Out):
    """rate: accepted as they are, of all; None where nothing was judged yet."""

    source: ProposalSource
    accepted: int
    edited: int
    rejected: int
    rate: float | None
    calibration: list[CalibrationOut]


class StatisticsOut(Out):
    sources: list[SourceStatistics]
