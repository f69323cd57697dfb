"""The socket proxy: joins a page's socket to one of a robot host, and copies messages both ways without looking inside.

Nothing is kept: a message is read from one side when the one before has gone to the other, so a page that does not
read holds up its own socket to the host and nothing else. The end of one side is the end of the other, at once.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from backend.access.sockets import TOO_MANY, Close
from backend.live.pace import Pace

TRY_AGAIN = 1013  # the robot's host is away; a page tries again soon
TOO_LARGE = 1009
_OPEN_SECONDS = 2.0
_CLOSE_SECONDS = 1.0
_PING_SECONDS, _PONG_SECONDS = 3.0, 5.0  # a host that hangs is given up after both
_FROM_PAGE_BYTES = 16_384  # what pages say is small
_FROM_HOST_BYTES = 8 * 2**20
_WAITING = 16  # messages of the host that may wait: all credits of eight cameras
_SAID_BY_HOST = frozenset({1003, 1007, 1008, TOO_LARGE})  # and everything from 4000 on
_REFUSED = 4000


async def join(
    page: WebSocket, *, robot: str, url: str, headers: Mapping[str, str], until: Awaitable[Close], pace: Pace
) -> Close | None:
    """Copy until one side ends or `until` is done; how to close the page's socket, None if the page has gone.

    page: accepted. url, headers: of the host's socket. pace: how much the page may say.
    """
    ending = asyncio.ensure_future(until)
    try:
        async with connect(
            url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PONG_SECONDS,
            max_size=_FROM_HOST_BYTES,
            max_queue=_WAITING,
        ) as host:
            return await _copy(page, host, robot, ending, pace)
    except InvalidStatus:
        return Close(TRY_AGAIN, f"The robot host of {robot} is of another version or data folder: restart it.")
    except (OSError, TimeoutError, WebSocketException):
        return Close(TRY_AGAIN, f"The robot host of {robot} does not answer.")
    finally:
        ending.cancel()


async def _copy(
    page: WebSocket, host: ClientConnection, robot: str, ending: "asyncio.Future[Close]", pace: Pace
) -> Close | None:
    """The first of its parts that ends says how."""
    down = asyncio.create_task(_to_page(page, host, robot))
    up = asyncio.create_task(_to_host(page, host, pace))
    # A page that does not read keeps `down` from noticing that the host has gone.
    gone = asyncio.create_task(_host_gone(host, robot, down))
    tasks: set[asyncio.Future[Any]] = {down, up, gone, ending}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        how: Close | None = done.pop().result()
        return how
    finally:
        for task in tasks:
            task.cancel()


async def _to_page(page: WebSocket, host: ClientConnection, robot: str) -> Close | None:
    while True:
        try:
            message = await host.recv()
        except ConnectionClosed:
            return _how(host, robot)
        try:
            if isinstance(message, str):
                await page.send_text(message)
            else:
                await page.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError):
            return None


async def _to_host(page: WebSocket, host: ClientConnection, pace: Pace) -> Close | None:
    while True:
        event = await page.receive()
        if event["type"] == "websocket.disconnect":
            return None
        content: str | bytes | None = event.get("text")
        if content is None:
            content = event["bytes"]
        if len(content) > _FROM_PAGE_BYTES:
            return Close(TOO_LARGE, f"a message of {len(content)} bytes; at most {_FROM_PAGE_BYTES} are accepted")
        if not pace.allows(len(content)):
            return Close(
                TOO_MANY, "Your pages send more than the robot host can take; close some, then open this one again."
            )
        with suppress(ConnectionClosed):  # the others tell how
            await host.send(content)


async def _host_gone(host: ClientConnection, robot: str, down: "asyncio.Task[Any]") -> Close:
    await host.wait_closed()
    await asyncio.wait({down}, timeout=_CLOSE_SECONDS)  # what the host said last, a refusal for instance
    return _how(host, robot)


def _how(host: ClientConnection, robot: str) -> Close:
    """Of a connection that the host has closed, or lost."""
    code = host.close_code
    if code is not None and (code in _SAID_BY_HOST or code >= _REFUSED):
        return Close(code, host.close_reason or "the robot host has closed the connection")
    return Close(TRY_AGAIN, f"The robot host of {robot} has gone or is being restarted.")
