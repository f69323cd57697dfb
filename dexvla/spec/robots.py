"""Cameras, simulated tasks and recordings."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from dexvla.spec.base import Spec

FPS_LEAST, FPS_MOST = 0.1, 1000.0  # steps a second of any robot: windows of seconds become steps by it


class CameraSpec(Spec):
    """A camera and the size of its pictures."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-]+$", description="Name in the episode file")
    height: int = Field(480, ge=8, le=4096, description="Rows, pixels")
    width: int = Field(640, ge=8, le=4096, description="Columns, pixels")


class RenderProfile(StrEnum):
    """How the simulated cameras render. The pixels differ, so episodes record it and training refuses a mix."""

    FAST = "fast"
    FULL = "full"


class AlohaTask(StrEnum):
    TRANSFER_CUBE = "transfer_cube"
    INSERTION = "insertion"
    PICK_COLOUR = "pick_colour"


class PickLevel(StrEnum):
    """Where the cubes of pick_colour lie.

    spots: two, on two fixed spots; jitter: each within three centimetres of its spot; anywhere: two anywhere in the
    right arm's reach, and a third that is never named.
    """

    SPOTS = "spots"
    JITTER = "jitter"
    ANYWHERE = "anywhere"


class PickSplit(StrEnum):
    """Which places and phrasings pick_colour draws from: those kept for training, those held out, or any place with
    the phrasings of training. On two fixed spots there is no place to hold out."""

    ANY = "any"
    TRAINING = "training"
    HELD_OUT = "held_out"


class PickColourOptions(Spec):
    """What is drawn for an episode of pick_colour; other tasks have no such options."""

    level: PickLevel = Field(PickLevel.SPOTS, description="Where the cubes lie")
    split: PickSplit = Field(PickSplit.ANY, description="Places and phrasings of training, held out, or any place")
    swapped: bool = Field(False, description="Name the other cube of the same scene")


ALOHA_CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
# What the simulated robot has, known without loading it: entries of its state and action, and every camera.
ALOHA_SIM_JOINTS = 14
ALOHA_SIM_CAMERAS = (
    *ALOHA_CAMERAS,
    "cam_table",
    "cam_middle",
    "cam_angle",
    "cam_front",
    "cam_left_pillar",
    "cam_right_pillar",
)


class TaskChoice(Spec):
    """A task of the simulated robot with its options: what recordings and evaluations have in common."""

    task: AlohaTask = Field(AlohaTask.TRANSFER_CUBE, description="Task of the simulated robot")
    pick: PickColourOptions = Field(PickColourOptions(), description="Options of pick_colour")

    @model_validator(mode="after")
    def _options_belong_to_the_task(self) -> Self:
        if self.task is not AlohaTask.PICK_COLOUR and self.pick != PickColourOptions():
            raise ValueError(f"level, split and swapped are options of pick_colour; {self.task} has none")
        return self


class RecoveryOptions(Spec):
    """What goes wrong in scripted demonstrations, so that they show how to recover, and how they vary.

    Shares are parts of the episodes, 0 .. 1. The steps of a mishap are recorded as such and are not learnt from; what
    follows is. See docs/decisions/recovery.md.
    """

    push: float = Field(0.3, ge=0, le=1, description="Share of episodes in which an object is shoved by 1 to 3 cm")
    miss: float = Field(0.3, ge=0, le=1, description="Share of episodes in which the gripper closes beside its object")
    slip: float = Field(
        0.3, ge=0, le=1, description="Share of episodes in which a grip opens while the object is lifted"
    )
    wide_start: float = Field(
        0.3, ge=0, le=1, description="Share of episodes that start with the hands anywhere above the table"
    )
    fastest: float = Field(
        1.5, ge=1, le=2, description="Each episode moves 1 to this many times as fast as the ordinary demonstrations"
    )
    noise: float = Field(
        0.01,
        ge=0,
        le=0.05,
        description="Deviation of the slow noise that is added to the executed arm joints, radians; the recorded "
        "action is the one without it",
    )


class DemonstrationChoice(TaskChoice):
    """What the scripted expert is to show."""

    recovery: RecoveryOptions | None = Field(
        None, description="Demonstrations that teach recovery: mishaps, and how the expert makes them good"
    )


class RecordSpec(DemonstrationChoice):
    """Scripted demonstrations on a simulated robot: seeds seed .. seed + episodes - 1."""

    robot: str = Field("aloha_sim", description="Robot driver")
    episodes: int = Field(5, ge=1, le=100_000, description="Number of seeds to run")
    seed: int = Field(0, ge=0, description="First seed; episode i uses seed + i")
    cameras: tuple[CameraSpec, ...] = Field(
        tuple(CameraSpec(name=name) for name in ALOHA_CAMERAS), min_length=1, description="Cameras to record"
    )
    render: RenderProfile = Field(RenderProfile.FAST, description="Render profile of the cameras")
    jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored frames")
    keep_failures: bool = Field(False, description="Also keep episodes in which the expert failed")
