"""Episodes, their motion and frames."""

from datetime import datetime

from pydantic import Field

from backend.core.schemas import Out
from backend.tables.episode import EpisodeSource, LabelState


class CameraOut(Out):
    name: str
    height: int
    width: int


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
