"""Parts of the spec of a training run, and the groups in which its fields are shown.

What forms and command lines show of a field stands on it, see dexvla.spec.fields.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from dexvla.spec.base import Spec
from dexvla.spec.policy import ActionSpace
from dexvla.spec.pretraining import NAME_PATTERN


class Group(StrEnum):
    """Which fields of a run stand together, in the order in which forms and command lines show them.

    basics: what most people look at; such a field has a `place` among them.
    """

    BASICS = "basics"
    DATA = "data"
    MODEL = "model"
    OPTIMISATION = "optimisation"
    MEMORY = "memory"
    VALIDATION = "validation"
    SAVING = "saving"


def shown_in(group: Group, unit: str | None = None) -> dict[str, JsonValue]:
    """Where a form shows a field, and the unit of its value."""
    return {"group": group.value} if unit is None else {"group": group.value, "unit": unit}


def basic(place: int, unit: str | None = None) -> dict[str, JsonValue]:
    """Among the basics, in this place."""
    return {**shown_in(Group.BASICS, unit), "place": place}


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
        ("vision", "llm"),
        min_length=1,
        title="LoRA towers",
        description="Parts of the policy that get adapters",
        json_schema_extra=basic(7),
    )
    rank: int = Field(64, ge=1, title="LoRA rank", description="Inner width of an adapter", json_schema_extra=basic(6))
    alpha: int = Field(
        256,
        ge=1,
        title="LoRA alpha",
        description="An adapter's output is scaled by alpha / rank",
        json_schema_extra=shown_in(Group.MODEL),
    )
    dropout: float = Field(
        0.05,
        ge=0,
        lt=1,
        title="LoRA dropout",
        description="Part of an adapter's inputs dropped in training",
        json_schema_extra=shown_in(Group.MODEL),
    )
    quantise: bool = Field(
        False,
        title="4-bit weights (QLoRA)",
        description="QLoRA: hold the adapted, frozen weights in 4 bits (NF4); needs the package bitsandbytes",
        json_schema_extra=shown_in(Group.MODEL),
    )


class Schedule(StrEnum):
    CONSTANT = "constant"
    COSINE = "cosine"


class OptimSpec(Spec):
    """AdamW and its learning-rate schedule."""

    learning_rate: float = Field(
        2e-5,
        gt=0,
        title="Learning rate",
        description="Highest rate, reached after the warm-up",
        json_schema_extra=basic(4),
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.95),
        title="AdamW betas",
        description="Decay rates of AdamW's running means of the gradient and of its square",
    )
    eps: float = Field(1e-8, gt=0, title="AdamW epsilon", description="Added to AdamW's denominator")
    weight_decay: float = Field(0.0, ge=0, title="Weight decay", description="Decoupled, times the learning rate")
    schedule: Schedule = Field(
        Schedule.CONSTANT,
        title="Learning-rate schedule",
        description="After the warm-up: constant, or a cosine down to 0",
    )
    warmup_ratio: float = Field(
        0.01, ge=0, le=1, title="Warm-up", description="Part of the steps in which the rate rises from 0"
    )
    max_grad_norm: float = Field(
        1.0, gt=0, title="Gradient clipping", description="Gradient clipping: the largest norm"
    )
    skip_spikes: float | None = Field(
        None,
        gt=1,
        title="Skip spikes above",
        description="Leave a step out whose loss or gradient norm is not finite, or more than this many times the "
        "median of the last 100; default: spikes are marked, and the run stops at what is not finite",
        json_schema_extra={"unit": "times the median"},
    )
    llm_learning_rate: float | None = Field(
        None,
        gt=0,
        title="Learning rate, language model",
        description="For the language model; default: learning_rate",
    )
    vision_learning_rate: float | None = Field(
        None, gt=0, title="Learning rate, vision tower", description="For the vision tower; default: learning_rate"
    )


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
