"""/api/events: one socket a page over which it hears what changed (see backend.studio.events)."""

import asyncio
from contextlib import suppress
from typing import Any

import redis.asyncio as aredis
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from redis import RedisError

from backend.access.sockets import Close, close, until_refused, who_opens
from backend.core.roles import Role
from backend.studio.events import CHANNEL

router = APIRouter()
_RETRY_SECONDS = 2.0
_QUEUE = 200
_UNSUPPORTED = 1003  # a close code
PING_SECONDS = 20.0  # of silence


class EventBus:
    """Listens to the broker once a process and hands every event to each open socket."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queues: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again: a connection that is just being made may swallow the first
            await asyncio.wait({self._task}, timeout=0.5)

    def open(self) -> asyncio.Queue[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self._queues.add(queue)
        return queue

    def close(self, queue: asyncio.Queue[str]) -> None:
        self._queues.discard(queue)

    async def _listen(self) -> None:
        while True:
            try:
                async with aredis.Redis.from_url(self._url) as broker, broker.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._hand_out(message["data"].decode())
            except (RedisError, OSError):
                await asyncio.sleep(_RETRY_SECONDS)

    def _hand_out(self, text: str) -> None:
        for queue in self._queues:
            if queue.full():  # a page that does not read: the oldest news is the least worth
                queue.get_nowait()
            queue.put_nowait(text)


@router.websocket("/api/events")
async def events(socket: WebSocket) -> None:
    """Messages {"topic", "id"}; "hello" first, then a "ping" whenever nothing else was said for 20 s.

    It is closed as soon as whoever opened it may not have it any more, however much there is to say.
    """
    who = await who_opens(socket, Role.VIEWER)
    if isinstance(who, Close):
        await socket.close(who.code, who.reason)
        return
    await socket.accept()
    bus: EventBus = socket.app.state.event_bus
    queue = bus.open()
    try:
        async with until_refused(socket, who, Role.VIEWER) as refused:
            tasks: set[asyncio.Future[Any]] = {
                asyncio.create_task(_tell(socket, queue)),
                asyncio.create_task(_drain(socket)),
                refused,
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
            if refused.done() and not refused.cancelled():
                await close(socket, refused.result())
            else:
                await close(socket, Close(_UNSUPPORTED, "this socket only sends"))  # nothing where the page has gone
    finally:
        bus.close(queue)


async def _tell(socket: WebSocket, queue: "asyncio.Queue[str]") -> None:
    """Until the page has gone."""
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text('{"topic": "hello", "id": ""}')
        while True:
            try:
                text = await asyncio.wait_for(queue.get(), PING_SECONDS)
            except TimeoutError:
                text = '{"topic": "ping", "id": ""}'
            await socket.send_text(text)


async def _drain(socket: WebSocket) -> None:
    """Pages say nothing here; reading notices when they leave, and ends the socket of one that talks."""
    await socket.receive()
