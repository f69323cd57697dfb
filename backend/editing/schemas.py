"""Edits of episodes: what is asked for, what would be made, what was made."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from backend.core.schemas import Id, In, Out, Title
from backend.jobs.schemas import JobOut
from backend.labels.core.segments import Instruction
from backend.tables.episode_edit import EditAction

MOST_EPISODES = 2000  # of one edit
_STEP = 2**31 - 1
Step = Annotated[int, Field(ge=0, le=_STEP)]


class Range(In):
    """Steps first..last, both of them, from 0."""

    first: Step
    last: Step


class EditIn(In):
    """Everything that does not belong to the action is left out.

    keep, cut: `first` and `last`. trim_idle, drop_idle: rest is found by motion; `drop` names other stretches, by
    episode. split: `at`, the first steps of the second and later parts. join: in the order of episode_ids. rename:
    `cameras` and `dimensions`. move, copy: `target_id` or `target_name`.
    """

    action: EditAction
    episode_ids: list[Id] | None = Field(None, min_length=1, max_length=MOST_EPISODES, description="None: all")
    first: Step | None = None
    last: Step | None = None
    at: list[Step] = Field(default_factory=list, max_length=500)
    drop: dict[Id, list[Range]] = Field(default_factory=dict, max_length=MOST_EPISODES)
    cameras: dict[str, str] = Field(default_factory=dict, max_length=64)
    dimensions: dict[str, str] = Field(default_factory=dict, max_length=200)
    instruction: Instruction | None = Field(
        None, description="Of what is joined, where the episodes have different ones"
    )
    target_id: Id | None = Field(None, description="Dataset for the new episodes; none: their own")
    target_name: Title | None = Field(None, description="Name of a new dataset for them")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        action = self.action
        if action is EditAction.DELETE:
            raise ValueError("episodes are deleted with DELETE /api/episodes/{id}")
        if action in {EditAction.KEEP, EditAction.CUT} and (self.first is None or self.last is None):
            raise ValueError(f"{action.value} needs the first and the last step")
        if action is EditAction.SPLIT and not self.at:
            raise ValueError("split needs the first steps of the new parts (at)")
        if action is EditAction.RENAME and not (self.cameras or self.dimensions):
            raise ValueError("rename needs new names of cameras or dimensions")
        if action in {EditAction.MOVE, EditAction.COPY} and self.target_id is None and self.target_name is None:
            raise ValueError(f"{action.value} needs a dataset: target_id, or target_name for a new one")
        if self.target_id is not None and self.target_name is not None:
            raise ValueError("give target_id or target_name, not both")
        return self


class EpisodeRef(Out):
    episode_id: str
    number: int


class MadeOut(EpisodeRef):
    steps: int


class PlannedOut(Out):
    """One new episode, before it is made. dropped: steps of the sources that are in none.

    lost: texts of substeps of which nothing is left. problem: why it cannot be made.
    """

    sources: list[EpisodeRef]
    steps_before: int
    steps: int
    pieces: list[Range] = Field(description="Of the sources, one after the other")
    dropped: list[Range]
    substeps_before: int
    substeps: int
    lost: list[str]
    notes: list[str]
    problem: str | None


class EditPreview(Out):
    """skipped: episodes that the edit would not change, such as those without rest."""

    items: list[PlannedOut]
    steps_before: int
    steps: int
    problems: int
    skipped: list[EpisodeRef]


class EditOut(Out):
    """undo_until: None where it cannot be undone (any more); why_not says why."""

    id: str
    action: EditAction
    created_at: datetime
    by_name: str | None
    dataset_id: str
    target_id: str
    target_name: str | None = Field(description="None where the results are in the sources' dataset")
    sources: list[EpisodeRef]
    results: list[MadeOut]
    finished_at: datetime | None
    undone_at: datetime | None
    undone_by_name: str | None
    undo_until: datetime | None
    why_not: str | None
    job: JobOut | None
