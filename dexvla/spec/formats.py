"""What a person says about data that other tools wrote: the profile of an import."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dexvla.spec.base import Spec
from dexvla.spec.robots import FPS_LEAST, FPS_MOST

_MOST = 9999  # the number of a dimension
Dimension = Annotated[int, Field(ge=0, le=_MOST)]


class Colours(StrEnum):
    """The order of an image's channels as a decoder or the file gives them."""

    RGB = "rgb"
    BGR = "bgr"


class CameraProfile(Spec):
    """One camera of the source: under which name it is kept, and what its pixels are."""

    source: str = Field(min_length=1, description="Name of the camera in the source")
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_\-]{1,64}$",
        description="Name it is kept under, letters, digits, - and _; empty: a safe form of its own",
    )
    colours: Colours | None = Field(None, description="Order of its channels; empty: as the profile or the file says")
    turned: bool | None = Field(
        None,
        description="Turn its frames by 180 degrees; empty: as the profile says, or as its format is known to need",
    )


class AngleUnit(StrEnum):
    RADIANS = "radians"
    DEGREES = "degrees"


class GripperRange(Spec):
    """A gripper in units of its own: what its values are when it is closed and when it is open."""

    dimension: int = Field(ge=0, le=_MOST, description="Of state and action, after they were picked")
    closed: float
    opened: float

    @model_validator(mode="after")
    def _differ(self) -> "GripperRange":
        if self.closed == self.opened:
            raise ValueError(f"closed and opened are both {self.closed:g}, expected two different values")
        return self


class ImportProfile(Spec):
    """What the files of a folder do not say, said once for all of them. Empty: taken from the file, or guessed and
    told as a guess.

    instruction_table: by the episode's name in the source (file name without its ending, `demo_3`, a number), or by
    its folder's name.
    """

    format: str | None = Field(None, description="Name of the format; empty: found by looking")
    instruction: str | None = Field(None, description="Instruction of the episodes that the next field leaves without")
    instruction_from: Literal["file", "folder", "table", "text"] = Field(
        "file", description="Where instructions come from first: the file, the folder's name, the table, or the text"
    )
    instruction_table: dict[str, str] = Field(default_factory=dict, description="Instructions by episode or folder")
    fps: float | None = Field(
        None, ge=FPS_LEAST, le=FPS_MOST, description="Steps a second, Hz, where an episode does not say it itself"
    )
    fps_from: Literal["file", "profile"] = Field(
        "file", description="Whose rate counts where both say one: that of the file, or that of the profile"
    )
    colours: Colours | None = Field(None, description="Order of the channels of all cameras that the next field omits")
    turned: bool | None = Field(
        None, description="Turn all frames by 180 degrees; empty: where the format is known to need it (LIBERO)"
    )
    cameras: tuple[CameraProfile, ...] | None = Field(
        None, description="Cameras to keep, in the order that the model sees them; empty: all"
    )
    state: tuple[Dimension, ...] | None = Field(
        None, description="Dimensions of the source that are the state; empty: all"
    )
    action: tuple[Dimension, ...] | None = Field(
        None, description="Dimensions of the source that are the action; empty: all"
    )
    state_entry: str | None = Field(None, description="Entry that holds the state, where the format has several")
    action_entry: str | None = Field(None, description="Entry that holds the action, where the format has several")
    angles: AngleUnit = Field(AngleUnit.RADIANS, description="Unit of the dimensions that are no gripper")
    grippers: tuple[GripperRange, ...] = Field((), description="Grippers to be brought to 0 closed .. 1 open")
    action_shift: int = Field(
        0, ge=-100, le=100, description="Steps by which each action is moved earlier: simulation lag, 0 for none"
    )
    append_base: bool = Field(False, description="Append the base's motion to the action")
    keep_good_steps: bool = Field(False, description="Where the end of an episode is broken, keep the steps before it")
    robot: str | None = Field(None, min_length=1, max_length=64, description="Name of the robot")
