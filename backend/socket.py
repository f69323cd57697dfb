"""/api/events: one socket a page over which it hears what changed (see backend.events)."""

import asyncio
from typing import Any

import redis.asyncio as aredis
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from redis import RedisError
from starlette.concurrency import run_in_threadpool

from backend.access import actor_of
from backend.events import CHANNEL

router = APIRouter()
_RETRY_SECONDS = 2.0
_QUEUE = 200
RECHECK_SECONDS = 20.0  # between two looks at whether whoever listens is still signed in


class Relay:
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
    """Messages {"topic", "id"}; "hello" first, then a "ping" every 20 s, at which the sign-in is checked again."""
    if await run_in_threadpool(actor_of, socket) is None:
        await socket.close(4401, "sign in first")
        return
    await socket.accept()
    relay: Relay = socket.app.state.relay
    queue = relay.open()
    listener = asyncio.create_task(_drain(socket))
    try:
        await socket.send_json({"topic": "hello", "id": ""})
        while not listener.done():
            try:
                text = await asyncio.wait_for(queue.get(), RECHECK_SECONDS)
            except TimeoutError:
                socket.state.actor = None
                if await run_in_threadpool(actor_of, socket) is None:
                    await socket.close(4401, "signed out")
                    return
                text = '{"topic": "ping", "id": ""}'
            await socket.send_text(text)
    except (WebSocketDisconnect, RuntimeError):
        return
    finally:
        relay.close(queue)
        listener.cancel()


async def _drain(socket: WebSocket) -> None:
    """Pages say nothing here; reading notices when they leave."""
    message: Any = {}
    while message.get("type") != "websocket.disconnect":
        message = await socket.receive()
