"""The form of a run, and runs with their curves."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from backend.core.paging import Ids, PageIn
from backend.core.schemas import In, Out
from backend.jobs.schemas import JobOut
from backend.tables.job import JobState
from backend.versions.schemas import SourceOut
from dexvla.spec import Group


class FieldOut(Out):
    """One field of the form. path: dotted, as in TrainSpec.

    `lora` is a switch; the fields with `requires` "lora" count only while it is on. Bounds of integers and numbers hold
    for each of them. choices None with kind "choices" (cameras): those that the chosen versions have, in order.
    """

    path: str
    label: str
    kind: Literal["integer", "number", "boolean", "text", "choice", "choices", "integers", "numbers"]
    unit: str | None = None
    description: str
    group: Group
    optional: bool = Field(description="null stands for the stage's own default")
    choices: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    default: Any
    stages: list[int]
    requires: str | None = Field(None, description="Path of the switch that must be on for this field to count")
    advanced: bool


class PresetOut(Out):
    """values: by stage, dotted path -> value, what the preset fills in over the defaults."""

    name: str
    title: str
    description: str
    values: dict[int, dict[str, Any]]


class TrainForm(Out):
    """groups: in the order in which a page shows them, as `fields` are."""

    fields: list[FieldOut]
    groups: list[Group]
    presets: list[PresetOut]
    stages: list[int]


Pair = Annotated[list[Any], Field(min_length=2, max_length=2)]  # the preset's value, this one


class SourceIn(In):
    version_id: str = Field(max_length=32)
    weight: float = Field(1.0, gt=0, le=1e6)


class RunIn(In):
    """fields: dotted path -> value, over the preset. Paths of data, models and output are the server's to fill in.

    Stage 2 starts from base_model_id and, if wanted, expert_id (registered models); stage 3 from checkpoint_id
    (a checkpoint of a run here) or base_model_id (a registered policy).
    """

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._\-]*$")
    stage: Literal[2, 3]
    preset: str | None = Field(None, max_length=64)
    sources: list[SourceIn] = Field(min_length=1, max_length=50)
    base_model_id: str | None = Field(None, max_length=32)
    expert_id: str | None = Field(None, max_length=32)
    checkpoint_id: str | None = Field(None, max_length=32)
    fields: dict[str, Any] = Field(default_factory=dict)


class RunCheck(Out):
    """What the form shows while it is filled in. errors: by field ("" for several), notes: odd but allowed.

    differences: fields that differ from the preset, path -> (preset's value, this one).
    command and spec_yaml are the same run for a command line; None while there are errors. command_many_gpus: the
    same for eight GPUs.
    """

    ok: bool
    errors: dict[str, str]
    notes: list[str]
    differences: dict[str, Pair]
    values: dict[str, Any] = Field(description="Every field as it would be used, dotted")
    command: str | None
    command_many_gpus: str | None
    spec_yaml: str | None


class RunSort(StrEnum):
    """active: those that are not over first, and the newest of both. loss: the last that was logged."""

    ACTIVE = "active"
    CREATED = "created"
    NAME = "name"
    STAGE = "stage"
    STATE = "state"
    LOSS = "loss"
    CHECKPOINTS = "checkpoints"


class RunsIn(PageIn):
    """search: in its name, preset, state, data, person, and in what it started from. state: any of these. over: False
    for those that wait or run, True for the others."""

    sort: RunSort = RunSort.CREATED
    descending: bool = True
    stage: int | None = Field(None, ge=1, le=3)
    id: Ids = Field(default_factory=list)
    state: list[JobState] = Field(default_factory=list, max_length=len(JobState))
    over: bool | None = None


class RunOut(Out):
    """latest: the last values of the curves. start: name of what it started from."""

    id: str
    name: str
    stage: int
    preset: str | None
    sources: list[SourceOut]
    base_model_id: str | None
    base_model_name: str | None
    expert_id: str | None
    expert_name: str | None
    parent_id: str | None
    parent_name: str | None
    job: JobOut
    latest: dict[str, float]
    checkpoints: int
    created_at: datetime
    created_by_name: str | None


class RunDetail(RunOut):
    spec: dict[str, Any]
    differences: dict[str, Pair]
    command: str
    command_many_gpus: str
    spec_yaml: str
    git: str | None
    preflight: dict[str, Any] | None
    request: dict[str, Any] = Field(description="The RunIn that makes the same run again, for a copy")


class MetricsOut(Out):
    """Curves. steps (N,), one list of N values a name; None where a name was not logged at a step.

    total: how many points there are. Where they are more than were asked for, each of the N stands for several: steps
    and attempts are those of its last point (the very first step is that of the first), values the mean, low and high
    the lowest and highest value among them. Otherwise low and high are empty.
    """

    steps: list[int]
    values: dict[str, list[float | None]]
    low: dict[str, list[float | None]]
    high: dict[str, list[float | None]]
    attempts: list[int]
    total: int
