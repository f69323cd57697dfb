"""The model of stage 1: image and text encoders, and one ScaleDP trunk with heads for several embodiments."""

from pydantic import Field, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.policy import ActionSpace, DiffusionSpec, ScaleDPSpec
from dexvla.spec.robots import FPS_LEAST, FPS_MOST, CameraSpec

NAME_PATTERN = r"^[A-Za-z0-9_\-]+$"


class EmbodimentSpec(Spec):
    """A robot as the expert meets it in stage 1: its dimensions and its cameras."""

    name: str = Field(pattern=NAME_PATTERN)
    action_dim: int = Field(ge=1)
    state_dim: int = Field(ge=1)
    action_space: ActionSpace = Field(ActionSpace(), description="How its actions are predicted")
    cameras: tuple[CameraSpec, ...] = Field(description="Cameras, with the size that images are resized to")
    recorded_cameras: tuple[CameraSpec, ...] = Field((), description="The same with the size of the training images")
    robot: str | None = Field(None, description="Robot that the training data came from")
    fps: float | None = Field(None, ge=FPS_LEAST, le=FPS_MOST, description="Control rate of the training data, Hz")


class ResNetSpec(Spec):
    """Sizes of a residual image encoder of bottleneck blocks (arXiv 1512.03385)."""

    stem: int = Field(64, ge=8, description="Channels after the first convolution")
    widths: tuple[int, ...] = Field((256, 512, 1024, 2048), min_length=1, description="Channels of each stage")
    depths: tuple[int, ...] = Field((3, 4, 6, 3), min_length=1, description="Blocks of each stage")

    @model_validator(mode="after")
    def _stages(self) -> "ResNetSpec":
        if len(self.widths) != len(self.depths):
            raise ValueError(f"{len(self.widths)} widths for {len(self.depths)} depths; one of each a stage")
        return self


RESNET_SIZES = {
    "tiny": ResNetSpec(stem=16, widths=(32, 64, 128), depths=(1, 1, 1)),
    "resnet-50": ResNetSpec(),
}


class PretrainerSpec(Spec):
    """What stands in a stage-1 checkpoint's config.json beside the settings of the text encoder."""

    expert: ScaleDPSpec
    chunk_size: int = Field(ge=1, le=1000, description="Actions in a predicted chunk, steps")
    diffusion: DiffusionSpec = DiffusionSpec()
    image_encoder: ResNetSpec
    embodiments: tuple[EmbodimentSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> "PretrainerSpec":
        names = [embodiment.name for embodiment in self.embodiments]
        if len(set(names)) != len(names):
            raise ValueError(f"embodiments must have different names; found {', '.join(names)}")
        return self

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all cameras, in the order in which they first appear; each has an image encoder."""
        return tuple(dict.fromkeys(camera.name for one in self.embodiments for camera in one.cameras))
