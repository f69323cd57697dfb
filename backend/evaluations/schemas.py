"""Evaluations, closed loop and open loop."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from backend.core.paging import Ids, PageIn
from backend.core.schemas import In, Out
from backend.jobs.schemas import JobOut
from backend.tables.evaluation import EvaluationKind
from backend.tables.job import JobState
from dexvla.spec import EpisodeOutcome, TaskChoice


class ClosedLoopIn(In, TaskChoice):
    """Roll-outs in the simulator, seeds seed .. seed + episodes - 1."""

    kind: Literal["closed_loop"] = "closed_loop"
    checkpoint_id: str
    robot: str = Field("aloha_sim", max_length=64, description="As `GET /api/robots/kinds` names it")
    episodes: int = Field(10, ge=1, le=1000)
    seed: int = Field(1000, ge=0, le=2**31 - 1)
    max_steps: int | None = Field(None, ge=1, le=20_000)
    execute_steps: int | None = Field(None, ge=1, le=1000)
    inference_steps: int | None = Field(None, ge=1, le=1000)
    instruction: str | None = Field(None, min_length=1, max_length=1000)


class OpenLoopIn(In):
    """Predicted against recorded actions of a dataset version's episodes."""

    kind: Literal["open_loop"] = "open_loop"
    checkpoint_id: str
    version_id: str
    held_out: bool = Field(True, description="Only episodes that the checkpoint was not trained on")
    stride: int = Field(16, ge=1, le=1000, description="Steps between predictions")
    inference_steps: int | None = Field(None, ge=1, le=1000)


EvaluationIn = Annotated[ClosedLoopIn | OpenLoopIn, Field(discriminator="kind")]


class EvaluationSort(StrEnum):
    """active: those that are not over first, and the newest of both. run: by its name, then by the checkpoint's step.
    result: the success rate, or the mean error, the smallest of which is the best."""

    ACTIVE = "active"
    CREATED = "created"
    RUN = "run"
    RESULT = "result"


class EvaluationsIn(PageIn):
    """search: in the name of the run whose checkpoint it is, and the checkpoint's step."""

    sort: EvaluationSort = EvaluationSort.CREATED
    descending: bool = True
    id: Ids = Field(default_factory=list)
    kind: EvaluationKind | None = None
    checkpoint_id: str | None = Field(None, max_length=32)
    run_id: str | None = Field(None, max_length=32)
    state: JobState | None = None


class EvaluationOut(Out):
    """headline: success rate or mean error of range, with its interval where it has one."""

    id: str
    kind: EvaluationKind
    checkpoint_id: str
    checkpoint_name: str
    version_id: str | None
    version_name: str | None = Field(description="Dataset and number of what is replayed, for people: cubes v2")
    settings: dict[str, Any]
    job: JobOut
    success_rate: float | None
    interval: list[float] | None = Field(description="Low and high end of the 95 % interval of the success rate")
    mean_reward: float | None
    error_of_range: float | None
    reasoning_match: float | None
    created_at: datetime
    created_by_name: str | None


class EvaluationDetail(EvaluationOut):
    """report: dexvla's ClosedLoopReport or OpenLoopReport; None until the job is done.

    outcomes: episodes of a closed loop that are done, while it runs too. files: names that /files/{name} serves:
    seed_N.mp4 (closed loop), episode-NNN.json (OpenLoopDetails) and plots (open loop); they appear as they are made.
    """

    report: dict[str, Any] | None
    outcomes: list[EpisodeOutcome]
    files: list[str]
