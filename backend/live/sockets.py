"""/api/live/{robot}/{state,video,control}: who may open them, and for how long. See dexvla.live.messages.

A socket that is refused is accepted first and closed then: a browser tells its page nothing of a handshake that failed.
"""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket

from backend.access.sockets import NOT_THERE, Close, close, until_refused, who_opens
from backend.core.db import new_id
from backend.core.roles import Role
from backend.live.pace import pace_of
from backend.live.service import BY_HEADER
from backend.live.socket_proxy import join
from backend.robots.host_client import HostClient
from backend.robots.token import host_token
from backend.studio.context import studio_of

router = APIRouter()
SESSION_HEADER = "X-Studio-Session"
_LOOK_SECONDS = 2.0  # for an answer of the database


class Kind(StrEnum):
    STATE = "state"
    VIDEO = "video"
    CONTROL = "control"

    @property
    def needs(self) -> Role:
        return Role.OPERATOR if self is Kind.CONTROL else Role.VIEWER


@router.websocket("/api/live/{robot}/{kind}")
async def live(
    socket: WebSocket, robot: str, kind: Kind, page: Annotated[str, Query(pattern="^[A-Za-z0-9-]{0,64}$")] = ""
) -> None:
    """page: what the page calls itself, the same for as long as it is open, so that it gets the robot back when its
    connection was lost before the host noticed."""
    await socket.accept()
    who = await who_opens(socket, kind.needs)
    if isinstance(who, Close):
        await close(socket, who)
        return
    studio = studio_of(socket)
    announced = await studio.directory.newest_robot(robot, seconds=_LOOK_SECONDS)
    if announced is None:
        await close(socket, Close(NOT_THERE, f"There is no robot {robot}; its host has ended or was never started."))
        return
    host = HostClient(name=robot, address=announced.address, token=host_token(studio.settings.folder.secrets, robot))
    headers = {**host.headers, BY_HEADER: who.name, SESSION_HEADER: f"{who.id}/{page or new_id()}"}
    async with until_refused(socket, who, kind.needs) as refused:
        url = f"ws://{host.address}/live/{kind}"
        how = await join(socket, robot=robot, url=url, headers=headers, until=refused, pace=pace_of(who.id))
    if how is not None:
        await close(socket, how)
