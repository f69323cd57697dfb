"""Conversions between checkpoint layouts."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.policy import DEFAULT_CHUNK, EXPERT_SIZES, Fusion, Initialisation
from dexvla.spec.robots import CameraSpec


class Layout(StrEnum):
    """Layouts beside our own: the reference's checkpoints, plain Qwen2-VL models, released ScaleDP files."""

    UPSTREAM = "upstream"
    QWEN2_VL = "qwen2-vl"
    SCALEDP = "scaledp"


class ConvertSpec(Spec):
    """One conversion, from a foreign layout into ours or from ours into upstream's."""

    source: str
    target: str = Field(description="Folder to make; must not exist")
    from_layout: Layout | None = None
    to_layout: Literal[Layout.UPSTREAM] | None = None
    dtype: Literal["stored", "float32", "bfloat16"] = Field("stored", description="Number format of the result")
    base: str | None = Field(None, description="Base model of an upstream LoRA checkpoint, if not where it says")
    ema: bool = Field(False, description="Take upstream's moving average instead of the last weights")
    cameras: tuple[CameraSpec, ...] = Field((), description="Cameras of an upstream checkpoint, in its order")

    expert: str | None = Field(None, description="Put a fresh expert of this size on a Qwen2-VL model")
    action_dim: int | None = Field(None, ge=1, description="Values of an action, for a fresh expert")
    state_dim: int | None = Field(None, ge=1, description="Values of a state, for a fresh expert")
    chunk_size: int = Field(DEFAULT_CHUNK, ge=1, le=1000, description="Actions in a chunk, for a fresh expert, steps")
    fusion: Fusion = Field(Fusion.FILM, description="For a fresh expert")
    initialisation: Initialisation = Field(Initialisation.ZERO, description="For a fresh expert")
    pretrained_expert: str | None = Field(None, description="ScaleDP file or checkpoint to take the expert from")
    seed: int = Field(0, ge=0, description="Of fresh weights")

    @field_validator("expert")
    @classmethod
    def _known_expert(cls, value: str | None) -> str | None:
        if value is not None and value not in EXPERT_SIZES:
            raise ValueError(f"unknown expert size {value!r}; known: {', '.join(EXPERT_SIZES)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "ConvertSpec":
        if (self.from_layout is None) == (self.to_layout is None):
            raise ValueError("give either --from (upstream, qwen2-vl, scaledp) or --to upstream")
        if self.from_layout is not Layout.UPSTREAM and (self.base is not None or self.ema or self.cameras):
            raise ValueError("--base, --ema and --cameras go with --from upstream")
        if self.expert is None and (self.pretrained_expert is not None or self.action_dim or self.state_dim):
            raise ValueError("--pretrained-expert, --action-dim and --state-dim go with --expert")
        if self.expert is not None and self.from_layout is not Layout.QWEN2_VL:
            raise ValueError("--expert goes with --from qwen2-vl")
        if self.expert is not None and (self.action_dim is None or self.state_dim is None):
            raise ValueError("--expert needs --action-dim and --state-dim")
        return self
