"""Datasets, their versions and demo recordings."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from backend.core.paging import PageIn
from backend.core.schemas import In, Name, Out, Prose
from dexvla.spec import DemonstrationChoice


class DatasetIn(In):
    name: Name = Field(min_length=1, max_length=128)
    description: Prose = Field("", max_length=4000)


class DatasetPatch(In):
    name: Name | None = Field(None, min_length=1, max_length=128)
    description: Prose | None = Field(None, max_length=4000)
    vocabulary: list[str] | None = Field(
        None, max_length=200, description="Substep texts in the order of their digits, each up to 400 characters"
    )


class DatasetSort(StrEnum):
    CREATED = "created"
    NAME = "name"


class DatasetsIn(PageIn):
    """search: in name and description."""

    sort: DatasetSort = DatasetSort.CREATED
    descending: bool = True


class DatasetOut(Out):
    """Counts are of the episodes that are there now; labelled: published; draft: edited since."""

    id: str
    name: str
    description: str
    created_at: datetime
    action_dim: int | None
    state_dim: int | None
    fps: float | None
    cameras: list[str]
    vocabulary: list[str]
    episodes: int
    steps: int
    labelled: int
    drafts: int
    versions: int
    size_bytes: int
    cover_episode_id: str | None = Field(description="An episode whose thumbnail stands for the dataset")


class DemoIn(In, DemonstrationChoice):
    """Record scripted demonstrations of a simulated robot into a new dataset (or into `dataset_id`)."""

    robot: str = Field("aloha_sim", max_length=64, description="As `GET /api/robots/kinds` names it")
    name: Name = Field("Demo: transfer the cube", min_length=1, max_length=128)
    dataset_id: str | None = None
    episodes: int = Field(5, ge=1, le=500)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    height: int = Field(240, ge=32, le=1080, description="Rows of an image, pixels")
    width: int = Field(320, ge=32, le=1920, description="Columns of an image, pixels")
    labelled: bool = Field(True, description="Keep the expert's own substeps as proposals")
