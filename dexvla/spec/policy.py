"""What a policy is apart from its backbone."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.robots import FPS_LEAST, FPS_MOST, CameraSpec


class Fusion(StrEnum):
    """How hidden states become the expert's condition.

    film: the prompt's mean, scaled and shifted by the reasoning's (DexVLA, DiVLA). pooled: the prompt's mean without
    FiLM (upstream's using_film False). tinyvla: the mean over prompt and answer, nothing projected (is_tinyvla).
    Only film says a reasoning before it acts; the others read one if it is given.
    """

    FILM = "film"
    POOLED = "pooled"
    TINYVLA = "tinyvla"


class ActionKind(StrEnum):
    """What a predicted action is.

    absolute: a position. delta: its distance from the state at the chunk's first step. difference: its distance from
    the action before it, normalised with the statistics of positions: upstream's delta_control, for its checkpoints.
    """

    ABSOLUTE = "absolute"
    DELTA = "delta"
    DIFFERENCE = "difference"


class ActionSpace(Spec):
    """How actions are predicted. Deltas and differences need states of the same dimensions as the actions."""

    kind: ActionKind = Field(ActionKind.ABSOLUTE, title="Actions are")
    absolute: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        title="Dimensions that stay absolute",
        description="Dimensions that stay positions whatever the kind, e.g. grippers; counted from 0",
    )


class Initialisation(StrEnum):
    """Fresh expert and fusion: closed at first (adaLN-Zero, zero FiLM), or Linear N(0, 0.02) as upstream has it."""

    ZERO = "zero"
    UPSTREAM = "upstream"


class ScaleDPSpec(Spec):
    """Sizes of a ScaleDP expert (arXiv 2409.14411, table of sizes)."""

    kind: Literal["scaledp"] = "scaledp"
    depth: int = Field(ge=1, le=1000, description="Transformer blocks")
    width: int = Field(ge=8, le=100_000, description="Channels (n_emb)")
    heads: int = Field(ge=1, le=1000, description="Attention heads")
    mlp_ratio: float = Field(4.0, gt=0, le=100)
    combine_width: int = Field(
        1024, ge=8, le=100_000, description="Hidden width of the MLP that joins condition and state"
    )

    @model_validator(mode="after")
    def _divisible(self) -> "ScaleDPSpec":
        if self.width % self.heads:
            raise ValueError(f"expert width {self.width} is not a multiple of its {self.heads} heads")
        return self


class UNetSpec(Spec):
    """Sizes of a conditional 1-D U-Net expert (diffusion policy, arXiv 2303.04137; the head of DiVLA)."""

    kind: Literal["unet"] = "unet"
    down_dims: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (256, 512, 1024), min_length=1, max_length=6, description="Channels of each level; each halves the steps"
    )
    kernel_size: int = Field(5, ge=1, le=1000, description="Steps that a convolution sees, odd")
    n_groups: int = Field(8, ge=1, le=10_000, description="Groups of a GroupNorm; divides every entry of down_dims")
    diffusion_step_embed_dim: int = Field(256, ge=4, le=100_000, description="Width of the time-step embedding, even")

    @property
    def horizon_multiple(self) -> int:
        """Steps that the inside of the network works on come in multiples of this: every level but one halves them."""
        return 1 << (len(self.down_dims) - 1)

    @model_validator(mode="after")
    def _sizes(self) -> "UNetSpec":
        if any(dim % self.n_groups for dim in self.down_dims):
            raise ValueError(f"down_dims {self.down_dims} are not all multiples of n_groups {self.n_groups}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; an even one would shift the steps")
        if self.diffusion_step_embed_dim % 2:
            raise ValueError(f"diffusion_step_embed_dim is {self.diffusion_step_embed_dim}, expected an even number")
        return self


ExpertSpec = Annotated[ScaleDPSpec | UNetSpec, Field(discriminator="kind")]

SCALEDP_SIZES = {
    "tiny": ScaleDPSpec(depth=4, width=128, heads=4, combine_width=256),
    "small": ScaleDPSpec(depth=6, width=160, heads=5, combine_width=256),
    "scaledp-ti": ScaleDPSpec(depth=8, width=256, heads=4),
    "scaledp-s": ScaleDPSpec(depth=12, width=384, heads=6),
    "scaledp-b": ScaleDPSpec(depth=12, width=768, heads=12),
    "scaledp-l": ScaleDPSpec(depth=24, width=1024, heads=16),
    "scaledp-h": ScaleDPSpec(depth=32, width=1280, heads=16),
}
UNET_SIZES = {
    "unet-tiny": UNetSpec(down_dims=(64, 128, 256), diffusion_step_embed_dim=64),
    "unet": UNetSpec(),
}
EXPERT_SIZES: dict[str, ScaleDPSpec | UNetSpec] = {**SCALEDP_SIZES, **UNET_SIZES}

DEFAULT_CHUNK = 50
_DEFAULT_UNET_CHUNK = 16


def default_chunk(expert: str | None) -> int:
    """Actions of a chunk where a run does not say, by the name of its expert's size."""
    return _DEFAULT_UNET_CHUNK if expert in UNET_SIZES else DEFAULT_CHUNK


AUGMENTED_CROP = 0.95  # part of each side that augmentation's random crop keeps, here and in the reference


class DiffusionSpec(Spec):
    """Denoising schedule of the expert: squared cosine betas, epsilon prediction, DDIM sampling with eta 0."""

    train_steps: int = Field(100, ge=2, le=1000)
    inference_steps: int = Field(10, ge=1, le=1000)


class PolicySpec(Spec):
    """A policy apart from its backbone: what stands in a checkpoint's config.json beside the backbone's settings."""

    expert: ExpertSpec
    action_dim: int = Field(ge=1, le=10_000)
    state_dim: int = Field(ge=1, le=10_000)
    chunk_size: int = Field(DEFAULT_CHUNK, ge=1, le=1000, description="Actions in a predicted chunk, steps")
    action_space: ActionSpace = ActionSpace()
    fusion: Fusion = Fusion.FILM
    diffusion: DiffusionSpec = DiffusionSpec()
    llm_loss_weight: float = Field(1.0, ge=0, description="Weight of the next-token loss on the reasoning")
    insulate_backbone: bool = Field(
        False, description="Training: the expert's loss stops before the backbone, which learns from text alone"
    )
    cameras: tuple[CameraSpec, ...] = Field(
        (), description="Cameras in the order of the prompt, with the size that images are resized to"
    )
    recorded_cameras: tuple[CameraSpec, ...] = Field(
        (), description="The same cameras with the size of the training images before they were resized"
    )
    centre_crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Part of each side kept in the middle and enlarged to the whole, after images are resized: at "
        "inference and validation of a policy that was trained on random crops. 1 keeps everything",
    )
    robot: str | None = Field(None, description="Robot that the training data came from")
    fps: float | None = Field(None, ge=FPS_LEAST, le=FPS_MOST, description="Control rate of the training data, Hz")
    render_profile: str | None = Field(None, description="Render profile of the training images, if simulated")
