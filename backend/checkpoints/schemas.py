"""Checkpoints with lineage and files."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from backend.core.paging import CursorPage, Ids, PageIn
from backend.core.schemas import Out
from backend.versions.schemas import SourceOut


class CheckpointSort(StrEnum):
    """run: by its name, then by step. success: best rate of the closed-loop evaluations."""

    CREATED = "created"
    RUN = "run"
    STEP = "step"
    STAGE = "stage"
    LOSS = "loss"
    SUCCESS = "success"
    SIZE = "size"


class CheckpointsIn(PageIn):
    """search: in the run's name, the step and the names of the datasets. deleted: those whose files are gone too."""

    sort: CheckpointSort = CheckpointSort.CREATED
    descending: bool = True
    id: Ids = Field(default_factory=list)
    run_id: str | None = Field(None, max_length=32)
    stage: int | None = Field(None, ge=1, le=3)
    deleted: bool = False


class FileOut(Out):
    name: str
    size: int
    sha256: str


class CheckpointOut(Out):
    """available: its files are there. sha256: of its manifest, which names the sha256 of every file."""

    id: str
    run_id: str
    run_name: str
    name: str = Field(description="Run and step, for people: pick cube, step 200")
    stage: int
    step: int
    robot: str | None = Field(description="That its policy was trained for; None where the data did not tell")
    attempt: int
    sha256: str
    size_bytes: int
    val_loss: float | None
    created_at: datetime
    available: bool
    deleted_why: str | None
    sources: list[SourceOut]
    evaluations: int
    best_success_rate: float | None = Field(description="Of its closed-loop evaluations")


class CheckpointPage(CursorPage[CheckpointOut]):
    """size_bytes: of the files of all pages; with the first page alone."""

    size_bytes: int | None = Field(None, ge=0)


class Ancestor(Out):
    """What a checkpoint came from, nearest first: a checkpoint of another run, or a registered model."""

    kind: str
    id: str
    name: str
    stage: int | None
    step: int | None


class CheckpointDetail(CheckpointOut):
    """The archive is a .tar; archive_sha256 of all of it. ancestors: nearest first, back to the base model."""

    files: list[FileOut]
    archive_name: str
    archive_size: int
    archive_sha256: str
    ancestors: list[Ancestor]
    info: dict[str, Any]
