"""Task entries, dataset manifests and normalisation statistics."""

import re
from collections.abc import Container
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.robots import FPS_LEAST, FPS_MOST, CameraSpec


class TaskEntry(Spec):
    """One entry of a tasks.yaml: which folders belong together as the data of a task.

    `dataset_dir`, `episode_len` and `camera_names` are the names that DexVLA's own task table uses.
    """

    dataset_dir: tuple[str, ...] = Field(min_length=1, description="Folders searched, with subfolders, for *.hdf5")
    episode_len: int | None = Field(
        None, ge=1, description="Steps of an episode to use at most (later ones are left out)"
    )
    camera_names: tuple[str, ...] | None = Field(None, description="Cameras, in the order the model sees them")

    sample_weights: tuple[float, ...] | None = Field(
        None, description="One per folder: how often its samples are drawn, relative to the others"
    )
    name_filter: str | None = Field(
        None, description="Regular expression; only files whose path below the folder matches somewhere are used"
    )
    stats_dir: tuple[str, ...] | None = Field(
        None, description="Folders whose episodes give the normalisation statistics, instead of the data's own"
    )

    @field_validator("dataset_dir", "stats_dir", mode="before")
    @classmethod
    def _one_folder(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("name_filter")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _weights(self) -> "TaskEntry":
        weights = self.sample_weights
        if weights is not None and (len(weights) != len(self.dataset_dir) or min(weights) <= 0):
            raise ValueError(
                f"sample_weights must be {len(self.dataset_dir)} positive numbers, one per dataset_dir; found {weights}"
            )
        return self


class Segment(Spec):
    """A stretch of steps with one substep reasoning: start <= step < end."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    text: str


class Stretch(Spec):
    """Steps that belong together: start <= step < end."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)


IDENTITY_VERSION = "v2"  # what identities of today start with, see dexvla.episodes.identity


class EpisodeEntry(Spec):
    """One episode of a dataset manifest: where it is, what it is, and its labels as they were when it was listed."""

    path: str = Field(description="File, relative to the manifest's folder where it lies below it")
    identity: str = Field(description="Hash of motion and frames, see dexvla.episodes.identity")
    aliases: tuple[str, ...] = Field(
        (), description="What other versions of the hash make of the same episode: how older or newer lists name it"
    )
    steps: int = Field(ge=1, le=2_000_000, description="Steps of the episode that are used")
    cameras: tuple[CameraSpec, ...] = Field((), description="The dataset's cameras, with the size of the stored images")
    sim: bool = Field(description="Simulated: actions line up with the state of the same step")
    fps: float | None = Field(None, ge=FPS_LEAST, le=FPS_MOST, description="Control rate, Hz, where the file says so")
    robot: str | None = None
    success: bool | None = None
    task: str | None = Field(None, description="Task of the simulated robot, if it was one")
    seed: int | None = Field(None, description="Seed of the simulated scene, if it was one")
    render_profile: str | None = None
    instruction: str
    substeps: tuple[Segment, ...] = Field((), description="Run-length coded substep reasonings; empty: not labelled")
    label_source: str | None = Field(None, description="Where the labels come from: scripted, human, ...")
    paraphrases: tuple[str, ...] = Field((), description="Other wordings of the instruction")
    plan: tuple[Segment, ...] = Field(
        (), description="A second text over the same steps, for example the high-level plan, run-length coded"
    )

    learn: tuple[Stretch, ...] = Field(
        (),
        description="Stretches to learn from, in order; empty: every step. Mishaps on purpose and what a policy did "
        "before it was corrected lie between them, and no chunk reaches past the end of its stretch",
    )

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Those to learn from."""
        return self.learn or (Stretch(start=0, end=self.steps),)

    @property
    def samples(self) -> int:
        """Steps to learn from."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)

    @property
    def content(self) -> str:
        """The identity that covers everything the pixels depend on; an older list's own where no other is known."""
        named = (self.identity, *self.aliases)
        return next((one for one in named if one.startswith(IDENTITY_VERSION)), self.identity)

    def is_in(self, identities: Container[str]) -> bool:
        """Whether `identities`, of whichever version of the hash, hold this episode."""
        return any(one in identities for one in (self.identity, *self.aliases))

    @model_validator(mode="after")
    def _covers(self) -> "EpisodeEntry":
        for name, segments in (("substeps", self.substeps), ("plan", self.plan)):
            position = 0
            for segment in segments:
                if segment.start != position or segment.end <= segment.start:
                    raise ValueError(f"{self.path}: {name} must cover the steps without gap or overlap, at {position}")
                position = segment.end
            if segments and position != self.steps:
                raise ValueError(f"{self.path}: {name} end at {position}, the episode has {self.steps} steps")
        position = 0
        for stretch in self.learn:
            if not position <= stretch.start < stretch.end <= self.steps:
                raise ValueError(
                    f"{self.path}: learn must be rising stretches within {self.steps} steps; "
                    f"found {stretch.start} to {stretch.end}"
                )
            position = stretch.end
        return self


class DatasetManifest(Spec):
    """The data of a run, labels embedded: the trainer reads this and the episode files, nothing else."""

    version: Literal[1] = 1
    name: str
    cameras: tuple[str, ...] = Field(min_length=1, description="Cameras that every episode has, in the model's order")
    action_dim: int = Field(ge=1, le=10_000)
    state_dim: int = Field(ge=1, le=10_000)
    episodes: tuple[EpisodeEntry, ...] = Field(min_length=1)


class NormStats(Spec):
    """Normalisation statistics over all steps of all episodes, of absolute actions.

    Deviations are with n - 1 and floored at 0.01; action_min and action_max carry a margin of 1e-4.
    """

    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    action_min: tuple[float, ...]
    action_max: tuple[float, ...]
    qpos_mean: tuple[float, ...]
    qpos_std: tuple[float, ...]
    example_qpos: tuple[tuple[float, ...], ...] | None = Field(None, description="(T, S), states of the last episode")
    steps: int | None = Field(None, ge=1, description="Number of steps counted")

    @model_validator(mode="after")
    def _lengths(self) -> "NormStats":
        actions = {len(self.action_mean), len(self.action_std), len(self.action_min), len(self.action_max)}
        if len(actions) != 1 or len(self.qpos_mean) != len(self.qpos_std):
            raise ValueError("norm statistics: the arrays differ in length")
        return self

    @property
    def action_dim(self) -> int:
        return len(self.action_min)

    @property
    def state_dim(self) -> int:
        return len(self.qpos_mean)
