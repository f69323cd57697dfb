"""What a robot host says of its robot, and what asks it to stop or to be armed again.

See docs/decisions/robot-host.md.

GET /state -> HostStatus; POST /stop (StopIn) -> HostStatus; POST /arm (ArmIn) -> HostStatus;
GET /picture/{camera} -> JPEG. Every request carries `Authorization: Bearer TOKEN`; an error is {"error": "..."}.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from dexvla.spec.inputs import In


class RobotState(StrEnum):
    """starting -> holding <-> stopped; fault while the robot cannot be reached, whatever it was before.

    holding: keeps its position and may be commanded. stopped: keeps its position and takes no command until an
    operator re-arms it.
    """

    STARTING = "starting"
    HOLDING = "holding"
    STOPPED = "stopped"
    FAULT = "fault"


class HostCamera(BaseModel):
    """A camera. fps: frames in the last seconds; 0 while nobody looks."""

    name: str
    height: int
    width: int
    fps: float = 0.0


class HostStatus(BaseModel):
    """What a host says of its robot. epoch: counts stops and re-arms; a command of an older one is not carried out."""

    state: RobotState = RobotState.STARTING
    epoch: int = 0
    since: datetime | None = Field(None, description="Since when it has been in this state")
    stopped_by: str | None = Field(None, description="Who pressed stop, while the stop is latched")
    reason: str | None = Field(None, description="Why it is stopped or in fault, in words for people")
    at_risk: str | None = Field(
        None, description="Why a restart of the host might not find this state again, in words; None: it will"
    )
    views: list[HostCamera] = Field([], description="Frames for people alone, which no recording has")
    cameras: list[HostCamera] = []
    camera_fault: str | None = Field(None, description="What is wrong with the cameras; the robot holds all the same")
    control_hz: float | None = Field(None, description="Control rate that the loop aims at, Hz")
    tick_hz: float = Field(0.0, description="Control rate that it reached in the last seconds, Hz")
    late_ms: float = Field(0.0, description="How late the slowest 1 % of those steps began, ms")
    task: str | None = None
    simulated: bool = True
    elsewhere: bool = Field(False, description="Its host is on a machine that has none of the studio's files")
    pid: int | None = None


class StopIn(In):
    by: str = Field(max_length=128)
    reason: str = Field("", max_length=400)


class ArmIn(In):
    by: str = Field(max_length=128)
