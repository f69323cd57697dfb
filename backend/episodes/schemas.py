"""Episodes, their motion and frames."""

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from backend.core.paging import Ids, PageIn
from backend.core.schemas import Out
from backend.tables.episode import EpisodeSource, LabelState


class CameraOut(Out):
    name: str
    height: int
    width: int


class EpisodeSort(StrEnum):
    NUMBER = "number"
    LENGTH = "length"
    CREATED = "created"
    SUCCESS = "success"
    LABELS = "labels"
    INSTRUCTION = "instruction"
    SOURCE = "source"
    SIZE = "size"


class EpisodesIn(PageIn):
    """search: in the instruction. min_steps, max_steps: both included. success: "yes", "no" or "unknown". person: who
    labels it. since, until: when it was taken in, both included."""

    sort: EpisodeSort = EpisodeSort.NUMBER
    id: Ids = Field(default_factory=list)
    min_steps: int | None = Field(None, ge=0, le=2**31 - 1)
    max_steps: int | None = Field(None, ge=0, le=2**31 - 1)
    success: Literal["yes", "no", "unknown"] | None = None
    label_state: LabelState | None = None
    person: str | None = Field(None, max_length=32)
    tag: str | None = Field(None, max_length=64)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_steps is not None and self.max_steps is not None and self.min_steps > self.max_steps:
            raise ValueError(f"min_steps is {self.min_steps}, more than max_steps, {self.max_steps}; nothing is both")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("since is later than until; nothing is both")
        return self


class EpisodeOut(Out):
    """One row of a dataset's list. seconds: None where the rate is unknown."""

    id: str
    dataset_id: str
    number: int
    steps: int
    seconds: float | None
    fps: float | None
    instruction: str
    success: bool | None
    label_state: LabelState
    failure_step: int | None
    quality: str | None
    tags: list[str]
    segments: int = Field(description="Substeps with a text, in the draft if there is one")
    source: EpisodeSource
    robot: str | None
    task: str | None
    seed: int | None
    size_bytes: int
    created_at: datetime


class EpisodeDetail(EpisodeOut):
    """previous_id, next_id: neighbours in the dataset, for N and P."""

    identity: str
    cameras: list[CameraOut]
    action_dim: int
    state_dim: int
    dimension_names: list[str] = Field(description="Of action and state, for plots; one a dimension")
    gripper_dimensions: list[int]
    sim: bool
    render_profile: str | None
    original_name: str | None
    guesses: list[str] = Field(description="What was assumed when it was taken in, in sentences")
    dataset_name: str
    vocabulary: list[str]
    previous_id: str | None
    next_id: str | None


class Motion(Out):
    """Row-major, (steps, dimensions); four significant decimals are enough for a plot."""

    steps: int
    action: list[list[float]]
    qpos: list[list[float]]


class UploadResult(Out):
    episode: EpisodeOut
    warnings: list[str]
