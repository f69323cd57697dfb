"""/api/live/{robot}/{state,video,control}: who may open them, and for how long. See backend.live.messages.

A socket that is refused is accepted first and closed then: a browser tells its page nothing of a handshake that failed.
"""

import asyncio
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from backend.access import Actor, actor_of
from backend.auth.roles import Role
from backend.context import studio_of
from backend.db import new_id
from backend.errors import NotFoundError
from backend.live.relay import Close, close, join
from backend.live.service import BY_HEADER
from backend.robots.service import host_of
from backend.socket import RECHECK_SECONDS

router = APIRouter()
SESSION_HEADER = "X-Studio-Session"
SIGNED_OUT, FORBIDDEN, NOT_THERE = 4401, 4403, 4404


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
    who = await run_in_threadpool(_who, socket, kind.needs)
    if isinstance(who, Close):
        await close(socket, who)
        return
    try:
        _, host = await run_in_threadpool(host_of, studio_of(socket), robot)
    except NotFoundError as error:
        await close(socket, Close(NOT_THERE, error.message))
        return
    headers = {**host.headers, BY_HEADER: who.name, SESSION_HEADER: f"{who.id}/{page or new_id()}"}
    how = await join(
        socket,
        robot=robot,
        url=f"ws://{host.address}/live/{kind}",
        headers=headers,
        until=_no_longer_allowed(socket, kind.needs),
    )
    if how is not None:
        await close(socket, how)


async def _no_longer_allowed(socket: WebSocket, needed: Role) -> Close:
    """Looks every `RECHECK_SECONDS`; returns when whoever opened the socket may not have it any more."""
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        socket.state.actor = None
        try:
            who = await run_in_threadpool(_who, socket, needed)
        except SQLAlchemyError:
            continue  # the database is away for a moment: that is no reason to let go of a robot
        if isinstance(who, Close):
            return who


def _who(socket: WebSocket, needed: Role) -> Actor | Close:
    actor = actor_of(socket)
    if actor is None:
        return Close(SIGNED_OUT, "Sign in first.")
    if not actor.role.allows(needed):
        return Close(FORBIDDEN, f"This needs the role {needed.value}; you are {actor.role.value}.")
    return actor
