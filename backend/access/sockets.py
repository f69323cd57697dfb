"""What all sockets share: how they end, and that they end when whoever opened them may not have them any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from backend.core.errors import TooManyError
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.studio.context import studio_of
from backend.studio.directory import AwayError, credential_of

SIGNED_OUT, FORBIDDEN, NOT_THERE, TOO_MANY = 4401, 4403, 4404, 4429
TRY_AGAIN = 1013
RECHECK_SECONDS = 20.0  # between two looks at whether whoever listens still may, if nobody says that it changed
_LOOK_SECONDS = 2.0  # for an answer of the database
_CLOSE_SECONDS = 1.0
_REASON_BYTES = 123  # of a close frame


@dataclass(frozen=True)
class Close:
    """How a socket ends: code, and a reason for people."""

    code: int
    reason: str


async def close(socket: WebSocket, how: Close) -> None:
    """Close the page's socket; one that does not read is not waited for."""
    reason = how.reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        await asyncio.wait_for(socket.close(how.code, reason), _CLOSE_SECONDS)


async def who_opens(socket: WebSocket, needed: Role) -> Actor | Close:
    """Who asks, or why they may not. The database decides; while it is away, the copy of it that is in memory."""
    credential, directory = credential_of(socket), studio_of(socket).directory
    if credential is None:
        return Close(SIGNED_OUT, "Sign in first.")
    try:
        actor = await directory.find_actor(credential, seconds=_LOOK_SECONDS)
    except AwayError:
        actor = directory.known(credential)
        if actor is None:
            return Close(TRY_AGAIN, "The database does not answer, so nobody can tell who you are.")
    if actor is None:
        return Close(SIGNED_OUT, "Sign in first.")
    if not actor.role.allows(needed):
        return Close(FORBIDDEN, f"This needs the role {needed.value}; you are {actor.role.value}.")
    return actor


@asynccontextmanager
async def until_refused(socket: WebSocket, actor: Actor, needed: Role) -> AsyncIterator["asyncio.Future[Close]"]:
    """A future that is done, with how to close the socket, once `actor` may not have it any more.

    Looked at now, whenever somebody says that this person's access changed, and every `RECHECK_SECONDS`.
    """
    looking = asyncio.ensure_future(_look(socket, actor, needed))
    try:
        yield looking
    finally:
        looking.cancel()


async def _look(socket: WebSocket, actor: Actor, needed: Role) -> Close:
    try:
        with studio_of(socket).access_watch.watching(actor.id) as changed:
            wait = 0.0  # access may have been taken away between the first look and this
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), wait)
                changed.clear()
                who = await who_opens(socket, needed)
                if isinstance(who, Close) and who.code != TRY_AGAIN:  # an answer is missing: no reason to let go
                    return who
                wait = RECHECK_SECONDS
    except TooManyError as error:
        return Close(TOO_MANY, error.message)
