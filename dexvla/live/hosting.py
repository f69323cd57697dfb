"""What a robot host on another machine and the API say to each other over HTTP. See docs/decisions/robot-host.md.

Below /api/robot-hosts/{name}, every request with `Authorization: Bearer KEY`, the key that an administrator made for
this robot; errors are the API's ({"error": {"code", "message", ...}}).

PUT    /announcement             `Announcement` -> `Welcome`     every two seconds: the robot is there
DELETE /announcement?address=... -> 204                          the host ends
PUT    /sign                     `HostStatus` -> 204             a second sign of life, which needs no database
GET    /studio                   -> 204, 503                     whether the studio is whole
GET    /datasets/{id}            -> `DatasetFacts`, 404          before something is recorded
POST   /recordings/{id}          `Handover` -> `Received`        how much of this recording the studio has
PATCH  /recordings/{id}?offset=N bytes (at most `PIECE_BYTES`) -> `Received`; 409 where the studio has another length,
                                 with `Received` as the error's detail
POST   /recordings/{id}/end      `Handover` -> `HandedIn`        all of it is there: compare the sum, look, list it
"""

from typing import Annotated

from pydantic import BaseModel, Field

from dexvla.live.status import HostStatus
from dexvla.live.version import PROTOCOL
from dexvla.spec.inputs import In

PIECE_BYTES = 2**20
KEY_PREFIX = "dvh_"
ROBOT_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Announcement(In):
    protocol: int = Field(PROTOCOL, description="The version of this conversation that the host speaks")
    kind: str = Field(min_length=1, max_length=64)
    address: str = Field(
        pattern=r"^[A-Za-z0-9.\-]{1,110}:[0-9]{1,5}$", description="HOST:PORT by which the studio reaches the host"
    )
    status: HostStatus


class Welcome(BaseModel):
    token: str = Field(description="What the studio shows when it asks this host")


class DatasetFacts(BaseModel):
    """What episodes of a dataset have in common. filled: whether it has any; if not, the rest says nothing."""

    name: str
    filled: bool
    action_dim: int | None = None
    state_dim: int | None = None
    cameras: list[str] = []
    render_profile: str | None = None
    fps: float | None = None


class Handover(In):
    """A recording that is handed in. by: the name of who recorded it. sha256: of the file."""

    dataset_id: str = Field(max_length=64)
    by: str = Field(max_length=128)
    size: int = Field(ge=1, lt=2**53, description="bytes")
    sha256: Sha256


class Received(BaseModel):
    received: int = Field(description="Bytes of the recording that the studio has, from its beginning")


class HandedIn(BaseModel):
    episode_id: str
