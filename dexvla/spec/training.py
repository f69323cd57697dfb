"""Training runs."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.policy import EXPERT_SIZES, SCALEDP_SIZES, ActionSpace, Fusion, Initialisation
from dexvla.spec.pretraining import NAME_PATTERN, RESNET_SIZES


class DataSource(Spec):
    """A part of a run's data: a folder, a manifest, or an entry of a tasks.yaml as FILE#ENTRY."""

    path: str = Field(description="Folder of episodes, manifest.json, or tasks.yaml#entry")
    weight: float = Field(1.0, gt=0, description="Relative weight with which its samples are drawn")
    embodiment: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Stage 1: name of the robot it comes from; default: one per robot, dimensions and cameras",
    )
    action_space: ActionSpace | None = Field(
        None, description="Stage 1: how actions of its embodiment are predicted; default: the run's action_space"
    )


class LoraSpec(Spec):
    """Low-rank adapters on the chosen towers, whose own weights are frozen.

    A backbone tower that is not chosen is frozen too; projections and FiLM train in full, and so does the expert unless
    it is chosen.
    """

    towers: tuple[Literal["vision", "llm", "expert"], ...] = Field(
        ("vision", "llm"), min_length=1, description="Parts of the policy that get adapters"
    )
    rank: int = Field(64, ge=1, description="Inner width of an adapter")
    alpha: int = Field(256, ge=1, description="An adapter's output is scaled by alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="Part of an adapter's inputs dropped in training")
    quantise: bool = Field(
        False, description="QLoRA: hold the adapted, frozen weights in 4 bits (NF4); needs the package bitsandbytes"
    )


class Schedule(StrEnum):
    CONSTANT = "constant"
    COSINE = "cosine"


class OptimSpec(Spec):
    """AdamW and its learning-rate schedule."""

    learning_rate: float = Field(2e-5, gt=0, description="Highest rate, reached after the warm-up")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.95), description="Decay rates of AdamW's running means of the gradient and of its square"
    )
    eps: float = Field(1e-8, gt=0, description="Added to AdamW's denominator")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled, times the learning rate")
    schedule: Schedule = Field(Schedule.CONSTANT, description="After the warm-up: constant, or a cosine down to 0")
    warmup_ratio: float = Field(0.01, ge=0, le=1, description="Part of the steps in which the rate rises from 0")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping: the largest norm")
    llm_learning_rate: float | None = Field(None, gt=0, description="For the language model; default: learning_rate")
    vision_learning_rate: float | None = Field(None, gt=0, description="For the vision tower; default: learning_rate")


class PaddedActions(StrEnum):
    """What stands after an episode's last action in a chunk: the last action again, or zeros as upstream.

    Both are left out of the loss but seen by the expert. Zeros of a dimension that hardly moves normalise to huge
    values, so they are for comparing with upstream only.
    """

    REPEAT_LAST = "repeat_last"
    ZEROS = "zeros"


class Precision(StrEnum):
    """bf16: forward in bfloat16 under autocast with float32 weights; bf16_pure: weights in bfloat16 too."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    BF16_PURE = "bf16_pure"


class TrainSpec(Spec):
    """A training run. What a form writes, what `dexvla train SPEC.yaml` reads, what a checkpoint's manifest keeps."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9._\-]+$")
    preset: str | None = Field(None, description="Preset that filled the fields that were not given")
    stage: Literal[1, 2, 3] = Field(
        description="1: expert alone, many embodiments; 2: backbone + expert on one embodiment; 3: the target task"
    )
    data: tuple[DataSource, ...] = Field(min_length=1)
    init_from: str | None = Field(
        None, description="Stage 2: base model directory; stage 3: checkpoint of a stage-2 run; stage 1 needs none"
    )
    pretrained_expert: str | None = Field(
        None,
        description="Stage 2: where the expert's weights come from: the run of stage 1, a released ScaleDP file, or "
        "a checkpoint",
    )
    pretrained_embodiment: str | None = Field(
        None, description="Stage 2: embodiment of stage 1 whose input and output layers are taken; default: that fits"
    )
    output_dir: str = Field(description="Folder of the run; made if it does not exist")

    image_encoder: str | None = Field(
        None, description=f"Stage 1: image encoder: {', '.join(RESNET_SIZES)}; default resnet-50"
    )
    text_encoder: str | None = Field(
        None, description="Stage 1: directory of a DistilBERT; default: a small one with random weights"
    )
    train_text_encoder: bool | None = Field(
        None, description="Stage 1: train it too; default: only one that starts from random weights"
    )

    expert: str | None = Field(None, description=f"Stages 1 and 2: size of the expert: {', '.join(EXPERT_SIZES)}")
    chunk_size: int | None = Field(
        None, ge=1, le=1000, description="Actions in a chunk, steps; default 50, for a U-Net 16, stage 3: as in stage 2"
    )
    action_space: ActionSpace | None = Field(
        None, description="Stages 1 and 2: default absolute; stage 3: the checkpoint's"
    )
    fusion: Fusion | None = Field(None, description="Stage 2: default film")
    initialisation: Initialisation = Field(Initialisation.ZERO, description="Of fresh modules in stages 1 and 2")
    llm_loss_weight: float = Field(1.0, ge=0, description="Weight of the next-token loss on the reasoning")
    insulate_backbone: bool = Field(
        False,
        description="Knowledge insulation: the expert's loss stops before the backbone, which learns from the "
        "reasoning alone; projections, FiLM and expert learn from both",
    )
    noise_draws: int = Field(
        1,
        ge=1,
        le=64,
        description="Diffusion noises and time steps drawn for each sample: the backbone runs once, the expert that "
        "many times; the loss is the mean",
    )
    image_height: int | None = Field(
        None, ge=28, le=2048, description="Images are resized to this, pixels; default 240, stage 3: as in stage 2"
    )
    image_width: int | None = Field(
        None, ge=28, le=2048, description="Images are resized to this, pixels; default 320, stage 3: as in stage 2"
    )
    cameras: tuple[str, ...] | None = Field(None, description="Cameras to use, in order; default: those of the data")
    text_data: tuple[DataSource, ...] = Field(
        (), description="JSON-lines files of images, questions and answers without actions, mixed in by weight"
    )
    use_reasoning: bool = Field(True, description="Train the substep reasoning; otherwise the answer is empty")
    use_paraphrases: bool = Field(
        True, description="Draw each sample's instruction from all wordings of its episode, where people gave several"
    )
    padded_actions: PaddedActions = PaddedActions.REPEAT_LAST
    augment: bool = Field(True, description="Random crop, rotation and colour jitter, one draw a sample")

    steps: int = Field(1000, ge=1, description="Optimiser steps")
    batch_size: int = Field(8, ge=1, description="Samples per process and accumulation step")
    grad_accumulation: int = Field(1, ge=1, description="Batches whose gradients make one optimiser step")
    optim: OptimSpec = OptimSpec()
    freeze_vision: bool = Field(False, description="Keep the vision tower as it is (the paper does in stage 2)")
    freeze_backbone: bool = Field(False, description="Train projections, FiLM and expert only")
    lora: LoraSpec | None = Field(None, description="Train low-rank adapters instead of whole towers")
    precision: Precision = Field(Precision.FLOAT32, description="Number format of weights and compute")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass: slower, but with far less memory"
    )
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Keep an exponential moving average of the weights")
    validation_fraction: float = Field(0.0, ge=0, lt=1, description="Part of the episodes held out, never trained on")
    validation_samples: int = Field(
        64, ge=1, description="Held-out steps looked at whenever a checkpoint is saved, spread evenly"
    )
    validation_max_tokens: int = Field(64, ge=1, le=1024, description="Longest reasoning generated there, tokens")
    seed: int = Field(0, ge=0, description="Of sample order, noise, augmentation and fresh weights")
    workers: int = Field(0, ge=0, description="Data loading processes")
    picture_cache: str | None = Field(
        None,
        description="Folder in which decoded, resized images are kept, made before the first step and shared by "
        "runs; the same pixels, loaded several times faster; three cameras of 240x320 take 0.7 MB a step",
    )
    kept_conditions: str | None = Field(
        None,
        description="With freeze_backbone: folder in which what the backbone makes of each step is kept, made before "
        "the first step and shared by runs; steps then cost what projections, FiLM and expert cost",
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU if there is one")

    log_every: int = Field(10, ge=1, description="Optimiser steps")
    save_every: int = Field(500, ge=1, description="Optimiser steps")
    keep_checkpoints: int = Field(
        3, ge=1, description="Newest checkpoints to keep; the one with the lowest validation loss stays as well"
    )

    @field_validator("image_encoder")
    @classmethod
    def _known_image_encoder(cls, value: str | None) -> str | None:
        if value is not None and value not in RESNET_SIZES:
            raise ValueError(f"unknown image encoder {value!r}; known: {', '.join(RESNET_SIZES)}")
        return value

    @field_validator("expert")
    @classmethod
    def _known_expert(cls, value: str | None) -> str | None:
        if value is not None and value not in EXPERT_SIZES:
            raise ValueError(f"unknown expert size {value!r}; known: {', '.join(EXPERT_SIZES)}")
        return value

    @model_validator(mode="after")
    def _stage(self) -> "TrainSpec":
        if self.stage < 3 and self.expert is None:
            raise ValueError(f"stage {self.stage} needs the size of the expert: {', '.join(EXPERT_SIZES)}")
        if self.stage == 1 and self.expert not in SCALEDP_SIZES:
            raise ValueError(f"stage 1 trains a ScaleDP expert, not {self.expert}; sizes: {', '.join(SCALEDP_SIZES)}")
        if self.stage > 1 and self.init_from is None:
            start = "a base model directory" if self.stage == 2 else "the checkpoint of a stage-2 run"
            raise ValueError(f"stage {self.stage} needs init_from: {start}")
        if self.stage == 3 and self.pretrained_expert is not None:
            raise ValueError("pretrained_expert belongs to stage 2; stage 3 starts from a whole checkpoint")
        if self.pretrained_embodiment is not None and self.pretrained_expert is None:
            raise ValueError("pretrained_embodiment chooses from pretrained_expert; give both, or neither")
        self._other_stages()
        if (self.image_height is None) != (self.image_width is None):
            raise ValueError("give both image_height and image_width, or neither")
        if self.insulate_backbone and (self.freeze_backbone or self.llm_loss_weight == 0):
            raise ValueError(
                "insulate_backbone leaves the backbone to the loss on the reasoning: it goes with neither "
                "freeze_backbone nor llm_loss_weight 0"
            )
        if self.kept_conditions is not None and (not self.freeze_backbone or self.augment or self.text_data):
            raise ValueError(
                "kept_conditions keeps what a backbone makes of a step, which must not change: it needs "
                "freeze_backbone, augment: false and no text_data"
            )
        if self.lora is not None and self.freeze_backbone:
            raise ValueError("freeze_backbone leaves nothing for LoRA to adapt; choose one of them")
        return self

    def _other_stages(self) -> None:
        """Fields that another stage has a use for are refused rather than ignored."""
        for name in _NOT_IN_STAGE_1 if self.stage == 1 else _ONLY_IN_STAGE_1:
            if getattr(self, name) != type(self).model_fields[name].default:
                where = "has no use in stage 1" if self.stage == 1 else "belongs to stage 1"
                raise ValueError(f"{name} {where}; leave it out")
        if self.stage > 1:
            for name in ("embodiment", "action_space"):
                if any(getattr(source, name) is not None for source in self.data):
                    raise ValueError(f"data.{name} belongs to stage 1; leave it out")


_ONLY_IN_STAGE_1 = ("image_encoder", "text_encoder", "train_text_encoder")
_NOT_IN_STAGE_1 = (
    "init_from",
    "pretrained_expert",
    "text_data",
    "fusion",
    "llm_loss_weight",
    "insulate_backbone",
    "noise_draws",
    "freeze_vision",
    "freeze_backbone",
    "kept_conditions",
    "lora",
)
