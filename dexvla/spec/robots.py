"""Cameras, simulated tasks and recordings."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue, model_validator

from dexvla.spec.base import Spec

FPS_LEAST, FPS_MOST = 0.1, 1000.0  # control rate of any robot, Hz: windows of seconds become steps by it


class CameraSpec(Spec):
    """A camera and the size of its images."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-]+$", description="Name in the episode file")
    height: int = Field(480, ge=8, le=4096, description="Rows, pixels")
    width: int = Field(640, ge=8, le=4096, description="Columns, pixels")


class RenderProfile(StrEnum):
    """How the simulated cameras render. The pixels differ, so episodes record it and training refuses a mix."""

    FAST = "fast"
    FULL = "full"


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


# What a task's option may be: one value, so that forms, command lines and messages can all carry it; whole numbers as a
# page holds them exactly.
OptionValue = bool | Annotated[int, Field(gt=-(2**53), lt=2**53)] | float | Annotated[str, Field(max_length=400)] | None
Options = Annotated[dict[Annotated[str, Field(max_length=64)], OptionValue], Field(max_length=64)]
_PICK = {"level": "spots", "split": "any", "swapped": False}


class TaskChoice(Spec):
    """A task of a robot with its options: what recordings, evaluations and scenes have in common.

    Which tasks there are and what their options may be is the robot's own affair: its `TaskSet`
    (dexvla.robots.base) checks them, see `dexvla.robots.registry.chosen`.
    """

    task: str = Field(
        "", max_length=64, pattern=r"^[A-Za-z0-9_\-]*$", description="Task of the robot; empty: its first one"
    )
    options: Options = Field(default_factory=dict, description="Options of the task, by name")

    @model_validator(mode="before")
    @classmethod
    def _options_of_older_files(cls, data: Any) -> Any:
        """Files and rows that were written while one task alone had options call these `pick`, also for others."""
        if not isinstance(data, Mapping) or "pick" not in data:
            return data
        fields = {name: value for name, value in data.items() if name != "pick"}
        pick = data["pick"].model_dump(mode="json") if isinstance(data["pick"], BaseModel) else data["pick"]
        if pick is not None and not isinstance(pick, Mapping):
            raise ValueError(f"pick: expected the options of pick_colour by name, found {pick!r}")
        given = _PICK | dict(pick or {})
        if fields.get("task") == "pick_colour" or given != _PICK:
            fields.setdefault("options", given)
        return fields


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


class RobotChoice(Spec):
    """Which robot, by the name under which it is registered, and what it is made with."""

    robot: str = Field("aloha_sim", max_length=64, description="Robot, by the name under which it is registered")
    robot_options: dict[str, JsonValue] = Field(
        default_factory=dict, description="What the robot is made with beside task, cameras and render profile"
    )


class RecordSpec(DemonstrationChoice, RobotChoice):
    """Scripted demonstrations on a simulated robot: seeds seed .. seed + episodes - 1."""

    episodes: int = Field(5, ge=1, le=100_000, description="Number of seeds to run")
    seed: int = Field(0, ge=0, description="First seed; episode i uses seed + i")
    cameras: tuple[CameraSpec, ...] = Field(
        tuple(CameraSpec(name=name) for name in ALOHA_CAMERAS), min_length=1, description="Cameras to record"
    )
    render: RenderProfile = Field(RenderProfile.FAST, description="Render profile of the cameras")
    jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of the stored frames")
    keep_failures: bool = Field(False, description="Also keep episodes in which the expert failed")
