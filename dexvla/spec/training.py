"""Training runs. What forms and command lines show of a field stands on it, see dexvla.spec.fields."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.policy import EXPERT_SIZES, SCALEDP_SIZES, ActionSpace, Fusion, Initialisation
from dexvla.spec.pretraining import RESNET_SIZES
from dexvla.spec.training_parts import (
    DataSource,
    Group,
    LoraSpec,
    OptimSpec,
    PaddedActions,
    Precision,
    basic,
    shown_in,
)


class TrainSpec(Spec):
    """A training run. What a form writes, what `dexvla train SPEC.yaml` reads, what a checkpoint's manifest keeps."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9._\-]+$", description="Name of the run")
    preset: str | None = Field(None, description="Preset that filled the fields that were not given")
    stage: Literal[1, 2, 3] = Field(
        description="1: expert alone, many embodiments; 2: backbone + expert on one embodiment; 3: the target task"
    )
    data: tuple[DataSource, ...] = Field(min_length=1)
    init_from: str | None = Field(
        None,
        description="Stage 2: base model directory; stage 3: checkpoint of a stage-2 run, or that run's folder; stage "
        "1 needs none",
    )
    pretrained_expert: str | None = Field(
        None,
        description="Stage 2: where the expert's weights come from: the run of stage 1, a released ScaleDP file, or "
        "a checkpoint",
    )
    pretrained_embodiment: str | None = Field(
        None,
        title="Embodiment of stage 1",
        description="Stage 2: embodiment of stage 1 whose input and output layers are taken; default: that fits",
        json_schema_extra=shown_in(Group.MODEL),
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

    expert: str | None = Field(
        None,
        title="Action expert",
        description=f"Stages 1 and 2: size of the expert: {', '.join(EXPERT_SIZES)}",
        json_schema_extra=basic(1),
    )
    chunk_size: int | None = Field(
        None,
        ge=1,
        le=1000,
        title="Chunk length",
        description="Actions in a chunk, steps; default 50, for a U-Net 16, stage 3: as in stage 2",
        json_schema_extra=basic(8, "steps"),
    )
    action_space: ActionSpace | None = Field(
        None,
        description="Stages 1 and 2: default absolute; stage 3: the checkpoint's",
        json_schema_extra=shown_in(Group.MODEL),
    )
    fusion: Fusion | None = Field(
        None, title="Fusion", description="Stage 2: default film", json_schema_extra=shown_in(Group.MODEL)
    )
    initialisation: Initialisation = Field(
        Initialisation.ZERO,
        title="Fresh weights",
        description="Of fresh modules in stages 1 and 2",
        json_schema_extra=shown_in(Group.MODEL),
    )
    llm_loss_weight: float = Field(
        1.0,
        ge=0,
        title="Weight of the reasoning loss",
        description="Weight of the next-token loss on the reasoning",
        json_schema_extra=shown_in(Group.MODEL),
    )
    insulate_backbone: bool = Field(
        False,
        title="Knowledge insulation",
        description="Knowledge insulation: the expert's loss stops before the backbone, which learns from the "
        "reasoning alone; projections, FiLM and expert learn from both",
        json_schema_extra=shown_in(Group.MODEL),
    )
    noise_draws: int = Field(
        1,
        ge=1,
        le=64,
        title="Noise samples per training sample",
        description="Diffusion noises and time steps drawn for each sample: the backbone runs once, the expert that "
        "many times; the loss is the mean",
        json_schema_extra=shown_in(Group.OPTIMISATION),
    )
    image_height: int | None = Field(
        None,
        ge=28,
        le=2048,
        title="Image height",
        description="Images are resized to this, pixels; default 240, stage 3: as in stage 2",
        json_schema_extra=basic(9, "pixels"),
    )
    image_width: int | None = Field(
        None,
        ge=28,
        le=2048,
        title="Image width",
        description="Images are resized to this, pixels; default 320, stage 3: as in stage 2",
        json_schema_extra=basic(10, "pixels"),
    )
    cameras: tuple[str, ...] | None = Field(
        None,
        title="Cameras",
        description="Cameras to use, in order; default: those of the data",
        json_schema_extra=shown_in(Group.DATA),
    )
    text_data: tuple[DataSource, ...] = Field(
        (), description="JSON-lines files of images, questions and answers without actions, mixed in by weight"
    )
    use_reasoning: bool = Field(
        True,
        title="Train substep reasoning",
        description="Train the substep reasoning; otherwise the answer is empty",
        json_schema_extra=shown_in(Group.DATA),
    )
    use_paraphrases: bool = Field(
        True,
        title="Train other wordings of the instruction",
        description="Draw each sample's instruction from all wordings of its episode, where people gave several",
        json_schema_extra=shown_in(Group.DATA),
    )
    padded_actions: PaddedActions = Field(
        PaddedActions.REPEAT_LAST, title="Padded actions", json_schema_extra=shown_in(Group.DATA)
    )
    augment: bool = Field(
        True,
        title="Augment",
        description="Random crop, rotation and colour jitter, one draw a sample",
        json_schema_extra=basic(12),
    )

    steps: int = Field(
        1000, ge=1, title="Steps", description="Optimiser steps", json_schema_extra=basic(2, "optimiser steps")
    )
    batch_size: int = Field(
        8,
        ge=1,
        title="Batch size",
        description="Samples per process and accumulation step",
        json_schema_extra=basic(3),
    )
    grad_accumulation: int = Field(
        1,
        ge=1,
        title="Gradient accumulation",
        description="Batches whose gradients make one optimiser step",
        json_schema_extra=shown_in(Group.MEMORY),
    )
    optim: OptimSpec = Field(OptimSpec(), json_schema_extra=shown_in(Group.OPTIMISATION))
    freeze_vision: bool = Field(
        False,
        title="Freeze vision",
        description="Keep the vision tower as it is (the paper does in stage 2)",
        json_schema_extra=shown_in(Group.MODEL),
    )
    freeze_backbone: bool = Field(
        False,
        title="Freeze backbone",
        description="Train projections, FiLM and expert only",
        json_schema_extra=shown_in(Group.MODEL),
    )
    lora: LoraSpec | None = Field(
        None, title="LoRA", description="Train low-rank adapters instead of whole towers", json_schema_extra=basic(5)
    )
    precision: Precision = Field(
        Precision.FLOAT32,
        title="Precision",
        description="Number format of weights and compute",
        json_schema_extra=basic(11),
    )
    gradient_checkpointing: bool = Field(
        False,
        title="Gradient checkpointing",
        description="Compute activations again in the backward pass: slower, but with far less memory",
        json_schema_extra=shown_in(Group.MEMORY),
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        title="Moving average (EMA) decay",
        description="Keep an exponential moving average of the weights",
        json_schema_extra=shown_in(Group.MODEL),
    )
    validation_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Held-out episodes",
        description="Part of the episodes held out, never trained on",
        json_schema_extra=shown_in(Group.VALIDATION),
    )
    validation_samples: int = Field(
        64,
        ge=1,
        title="Held-out steps looked at",
        description="Held-out steps looked at whenever a checkpoint is saved, spread evenly",
        json_schema_extra=shown_in(Group.VALIDATION),
    )
    validation_max_tokens: int = Field(
        64,
        ge=1,
        le=1024,
        title="Longest reasoning in validation",
        description="Longest reasoning generated there, tokens",
        json_schema_extra=shown_in(Group.VALIDATION, "tokens"),
    )
    seed: int = Field(
        0,
        ge=0,
        title="Seed",
        description="Of sample order, noise, augmentation and fresh weights",
        json_schema_extra=shown_in(Group.DATA),
    )
    workers: int = Field(
        0,
        ge=0,
        title="Data loading processes",
        description="Data loading processes",
        json_schema_extra=shown_in(Group.DATA),
    )
    picture_cache: str | None = Field(
        None,
        title="Cache of decoded images",
        description="Folder in which decoded, resized images are kept, made before the first step and shared by "
        "runs; the same pixels, loaded several times faster; three cameras of 240x320 take 0.7 MB a step",
        json_schema_extra=shown_in(Group.DATA),
    )
    kept_conditions: str | None = Field(
        None,
        title="Cache of the backbone's conditions",
        description="With freeze_backbone: folder in which what the backbone makes of each step is kept, made before "
        "the first step and shared by runs; steps then cost what projections, FiLM and expert cost",
        json_schema_extra=shown_in(Group.DATA),
    )
    device: Literal["auto", "cpu"] = Field(
        "auto", title="Device", description="auto: a GPU if there is one", json_schema_extra=shown_in(Group.MEMORY)
    )

    log_every: int = Field(
        10,
        ge=1,
        title="Log every",
        description="Optimiser steps",
        json_schema_extra=shown_in(Group.SAVING, "optimiser steps"),
    )
    save_every: int = Field(
        500,
        ge=1,
        title="Save a checkpoint every",
        description="Optimiser steps",
        json_schema_extra=basic(13, "optimiser steps"),
    )
    keep_checkpoints: int = Field(
        3,
        ge=1,
        title="Checkpoints kept",
        description="Newest checkpoints to keep; the one with the lowest validation loss stays as well",
        json_schema_extra=shown_in(Group.SAVING),
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
