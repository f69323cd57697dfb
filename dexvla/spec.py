"""Typed, torch-free descriptions of everything that is stored, sent or filled in as a form.

Units stand in the descriptions; forms, command-line flags, validation and stored JSON come from these classes.
All are frozen. Unknown fields are refused, so that a typing mistake is not silently ignored.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Spec(BaseModel):
    """Base of every spec: frozen, no unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- cameras and robots -------------------------------------------------------------------------------------


class CameraSpec(Spec):
    """A camera and the size of its pictures."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_\-]+$", description="Name in the episode file")
    height: int = Field(480, ge=8, le=4096, description="Rows, pixels")
    width: int = Field(640, ge=8, le=4096, description="Columns, pixels")


class RenderProfile(StrEnum):
    """How the simulated cameras render. The pixels differ, so episodes record it and training refuses a mix."""

    FAST = "fast"
    FULL = "full"


class AlohaTask(StrEnum):
    TRANSFER_CUBE = "transfer_cube"
    INSERTION = "insertion"


ALOHA_CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


class RecordSpec(Spec):
    """Scripted demonstrations on a simulated robot: seeds seed .. seed + episodes - 1."""

    robot: str = Field("aloha_sim", description="Robot driver")
    task: AlohaTask = Field(AlohaTask.TRANSFER_CUBE, description="Task of the simulated robot")
    episodes: int = Field(5, ge=1, le=100_000, description="Number of seeds to run")
    seed: int = Field(0, ge=0, description="First seed; episode i uses seed + i")
    cameras: tuple[CameraSpec, ...] = Field(
        tuple(CameraSpec(name=name) for name in ALOHA_CAMERAS), min_length=1, description="Cameras to record"
    )
    render: RenderProfile = Field(RenderProfile.FAST, description="Render profile of the cameras")
    jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored frames")
    keep_failures: bool = Field(False, description="Also keep episodes in which the expert failed")


# --- data ---------------------------------------------------------------------------------------------------


class TaskEntry(Spec):
    """One entry of a tasks.yaml: which folders belong together as the data of a task.

    `dataset_dir`, `episode_len` and `camera_names` are the names that DexVLA's own task table uses.
    """

    dataset_dir: tuple[str, ...] = Field(min_length=1, description="Folders searched, with subfolders, for *.hdf5")
    episode_len: int | None = Field(
        None, ge=1, description="Steps of an episode to use at most (later ones are left out); also the roll-out length"
    )
    camera_names: tuple[str, ...] | None = Field(None, description="Cameras, in the order the model sees them")

    @field_validator("dataset_dir", mode="before")
    @classmethod
    def _one_folder(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Segment(Spec):
    """A stretch of steps with one substep reasoning: start <= step < end."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    text: str


class EpisodeEntry(Spec):
    """One episode of a dataset manifest: where it is, what it is, and its labels as they were when it was listed."""

    path: str = Field(description="File, relative to the manifest's folder where it lies below it")
    identity: str = Field(description="sha256 of motion and frames, see dexvla.episodes.identity")
    steps: int = Field(ge=1, description="Steps of the episode that are used")
    sim: bool = Field(description="Simulated: actions line up with the state of the same step")
    fps: float | None = Field(None, gt=0, description="Steps a second, where the file says so")
    success: bool | None = None
    render_profile: str | None = None
    instruction: str
    substeps: tuple[Segment, ...] = Field((), description="Run-length coded substep reasonings; empty: not labelled")
    label_source: str | None = Field(None, description="Where the labels come from: scripted, human, ...")

    @model_validator(mode="after")
    def _covers(self) -> "EpisodeEntry":
        position = 0
        for segment in self.substeps:
            if segment.start != position or segment.end <= segment.start:
                raise ValueError(f"{self.path}: substeps must cover the steps without gap or overlap, at {position}")
            position = segment.end
        if self.substeps and position != self.steps:
            raise ValueError(f"{self.path}: substeps end at {position}, the episode has {self.steps} steps")
        return self


class DatasetManifest(Spec):
    """The data of a run, labels embedded: the trainer reads this and the episode files, nothing else."""

    version: Literal[1] = 1
    name: str
    cameras: tuple[str, ...] = Field(min_length=1, description="Cameras that every episode has, in the model's order")
    action_dim: int = Field(ge=1)
    state_dim: int = Field(ge=1)
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


# --- the policy ---------------------------------------------------------------------------------------------


class Fusion(StrEnum):
    """How hidden states become the expert's condition: FiLM of prompt by reasoning, or TinyVLA's pooled mean."""

    FILM = "film"
    TINYVLA = "tinyvla"


class Initialisation(StrEnum):
    """Fresh expert and FiLM: zero gates (adaLN-Zero, zero FiLM), or every Linear N(0, 0.02) as upstream ends up with."""

    ZERO = "zero"
    UPSTREAM = "upstream"


class ScaleDPSpec(Spec):
    """Sizes of a ScaleDP expert (arXiv 2409.14411, table of sizes)."""

    kind: Literal["scaledp"] = "scaledp"
    depth: int = Field(ge=1, description="Transformer blocks")
    width: int = Field(ge=8, description="Channels (n_emb)")
    heads: int = Field(ge=1, description="Attention heads")
    mlp_ratio: float = Field(4.0, gt=0)
    combine_width: int = Field(1024, ge=8, description="Hidden width of the MLP that joins condition and state")

    @model_validator(mode="after")
    def _divisible(self) -> "ScaleDPSpec":
        if self.width % self.heads:
            raise ValueError(f"expert width {self.width} is not a multiple of its {self.heads} heads")
        return self


SCALEDP_SIZES = {
    "tiny": ScaleDPSpec(depth=4, width=128, heads=4, combine_width=256),
    "scaledp-ti": ScaleDPSpec(depth=8, width=256, heads=4),
    "scaledp-s": ScaleDPSpec(depth=12, width=384, heads=6),
    "scaledp-b": ScaleDPSpec(depth=12, width=768, heads=12),
    "scaledp-l": ScaleDPSpec(depth=24, width=1024, heads=16),
    "scaledp-h": ScaleDPSpec(depth=32, width=1280, heads=16),
}


class DiffusionSpec(Spec):
    """Denoising schedule of the expert: squared cosine betas, epsilon prediction, DDIM sampling with eta 0."""

    train_steps: int = Field(100, ge=2, le=1000)
    inference_steps: int = Field(10, ge=1, le=1000)


class PolicySpec(Spec):
    """A policy apart from its backbone: what stands in a checkpoint's config.json beside the backbone's settings."""

    expert: ScaleDPSpec
    action_dim: int = Field(ge=1)
    state_dim: int = Field(ge=1)
    chunk_size: int = Field(50, ge=1, le=1000, description="Actions in a predicted chunk, steps")
    fusion: Fusion = Fusion.FILM
    diffusion: DiffusionSpec = DiffusionSpec()
    llm_loss_weight: float = Field(1.0, ge=0, description="Weight of the next-token loss on the reasoning")
    cameras: tuple[CameraSpec, ...] = Field(
        (), description="Cameras in the order of the prompt, with the size that pictures are resized to"
    )
    robot: str | None = Field(None, description="Robot that the training data came from")
    fps: float | None = Field(None, gt=0, description="Steps a second of the training data")
    render_profile: str | None = Field(None, description="Render profile of the training pictures, if simulated")


# --- training -----------------------------------------------------------------------------------------------


class DataSource(Spec):
    """A part of a run's data: a folder, a manifest, or an entry of a tasks.yaml as FILE#ENTRY."""

    path: str = Field(description="Folder of episodes, manifest.json, or tasks.yaml#entry")
    weight: float = Field(1.0, gt=0, description="Relative weight with which its samples are drawn")


class LoraSpec(Spec):
    """Low-rank adapters on the backbone; projections, FiLM and the expert always train in full."""

    towers: tuple[Literal["vision", "llm"], ...] = Field(("vision", "llm"), min_length=1)
    rank: int = Field(64, ge=1)
    alpha: int = Field(256, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class Schedule(StrEnum):
    CONSTANT = "constant"
    COSINE = "cosine"


class OptimSpec(Spec):
    """AdamW and its learning-rate schedule."""

    learning_rate: float = Field(2e-5, gt=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Schedule = Schedule.CONSTANT
    warmup_ratio: float = Field(0.01, ge=0, le=1, description="Part of the steps in which the rate rises from 0")
    max_grad_norm: float = Field(1.0, gt=0)


class Precision(StrEnum):
    """bf16: forward in bfloat16 under autocast with float32 weights; bf16_pure: weights in bfloat16 too."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    BF16_PURE = "bf16_pure"


class TrainSpec(Spec):
    """A training run. What a form writes, what `dexvla train SPEC.yaml` reads, what a checkpoint's manifest keeps."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9._\-]+$")
    preset: str | None = Field(None, description="Preset that filled the fields that were not given")
    stage: Literal[2, 3] = Field(description="2: backbone + expert on one embodiment; 3: the target task")
    data: tuple[DataSource, ...] = Field(min_length=1)
    init_from: str = Field(description="Stage 2: base model directory; stage 3: checkpoint of a stage-2 run")
    pretrained_expert: str | None = Field(None, description="Stage 2: checkpoint whose expert weights are taken over")
    output_dir: str = Field(description="Folder of the run; made if it does not exist")

    expert: str = Field("tiny", description=f"Stage 2: size of the expert: {', '.join(SCALEDP_SIZES)}")
    chunk_size: int = Field(50, ge=1, le=1000, description="Stage 2: actions in a chunk, steps")
    fusion: Fusion = Fusion.FILM
    initialisation: Initialisation = Initialisation.ZERO
    llm_loss_weight: float = Field(1.0, ge=0)
    image_height: int = Field(240, ge=28, le=2048, description="Pictures are resized to this, pixels")
    image_width: int = Field(320, ge=28, le=2048, description="Pictures are resized to this, pixels")
    cameras: tuple[str, ...] | None = Field(None, description="Cameras to use, in order; default: those of the data")
    use_reasoning: bool = Field(True, description="Train the substep reasoning; otherwise the answer is empty")
    augment: bool = Field(True, description="Random crop, rotation and colour jitter, one draw a sample")

    steps: int = Field(1000, ge=1, description="Optimiser steps")
    batch_size: int = Field(8, ge=1, description="Samples per process and accumulation step")
    grad_accumulation: int = Field(1, ge=1)
    optim: OptimSpec = OptimSpec()
    freeze_vision: bool = Field(False, description="Keep the vision tower as it is (the paper does in stage 2)")
    freeze_backbone: bool = Field(False, description="Train projections, FiLM and expert only")
    lora: LoraSpec | None = None
    precision: Precision = Precision.FLOAT32
    gradient_checkpointing: bool = False
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Keep an exponential moving average of the weights")
    validation_fraction: float = Field(0.0, ge=0, lt=1, description="Part of the episodes held out, never trained on")
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0, description="Data loading processes")
    device: Literal["auto", "cpu"] = "auto"

    log_every: int = Field(10, ge=1, description="Optimiser steps")
    save_every: int = Field(500, ge=1, description="Optimiser steps")
    keep_checkpoints: int = Field(3, ge=1, description="Newest checkpoints to keep; the last one always stays")

    @field_validator("expert")
    @classmethod
    def _known_expert(cls, value: str) -> str:
        if value not in SCALEDP_SIZES:
            raise ValueError(f"unknown expert size {value!r}; known: {', '.join(SCALEDP_SIZES)}")
        return value


# --- evaluation ---------------------------------------------------------------------------------------------


class EvalSpec(Spec):
    """Closed-loop episodes of a checkpoint on a robot that can judge its task: seeds seed .. seed + episodes - 1."""

    checkpoint: str
    robot: str = "aloha_sim"
    task: AlohaTask = AlohaTask.TRANSFER_CUBE
    episodes: int = Field(10, ge=1, le=10_000)
    seed: int = Field(1000, ge=0, description="First seed; use seeds that no demonstration used")
    max_steps: int | None = Field(None, ge=1, description="Steps of a roll-out; default: the task's")
    execute_steps: int = Field(16, ge=1, description="Actions of a chunk that are executed before asking again")
    inference_steps: int | None = Field(None, ge=1, description="DDIM steps; default: the checkpoint's")
    max_new_tokens: int = Field(64, ge=1, le=1024, description="Longest reasoning, tokens")
    instruction: str | None = Field(None, description="Overrides the task's instruction")
    render: RenderProfile | None = Field(None, description="Default: the profile of the training pictures")
    video: bool = Field(True, description="Write an mp4 of every episode")
    device: Literal["auto", "cpu"] = "auto"
