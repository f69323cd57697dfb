"""Who holds sockets hears at once that somebody's access has changed, in this process and, over the broker, in others.

The message says whose access changed and no more: the holder looks again by itself, in the database. One that is lost,
because the broker is away, is made up for by the look that every socket takes every few seconds anyway.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis
import redis.asyncio as aredis

from backend.core.errors import TooManyError

CHANNEL = "studio:access"
SOCKETS_PER_PERSON = 64  # a page has up to five
_RETRY_SECONDS = 2.0


class AccessWatch:
    """The open sockets of this process by whose they are. `changed` may be called from any thread."""

    def __init__(self, *, per_person: int = SOCKETS_PER_PERSON) -> None:
        self._per_person = per_person
        self._watching: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None

    @contextmanager
    def watching(self, user_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the access of that person may have changed.

        Raises TooManyError for one socket too many.
        """
        mine = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            held = self._watching.setdefault(user_id, set())
            if len(held) >= self._per_person:
                raise TooManyError(f"You have {len(held)} connections open; close some pages of the studio.")
            held.add(mine)
        try:
            yield mine[1]
        finally:
            with self._lock:
                held.discard(mine)
                if not held:
                    self._watching.pop(user_id, None)

    def announce(self, broker: redis.Redis, user_id: str) -> None:
        """Tell this process, then the others."""
        self.changed(user_id)
        try:
            broker.publish(CHANNEL, user_id)
        except redis.RedisError:
            return

    def changed(self, user_id: str | None) -> None:
        """None: anybody's may have."""
        self.on_change()
        with self._lock:
            groups = list(self._watching.values()) if user_id is None else [self._watching.get(user_id, set())]
            for loop, event in [one for group in groups for one in group]:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    async def listen(self, url: str) -> None:
        """Hear the other processes until cancelled."""
        while True:
            try:
                async with aredis.Redis.from_url(url) as broker, broker.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self.changed(None)  # what was said while nobody listened
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self.changed(message["data"].decode(errors="replace"))
            except (redis.RedisError, OSError):
                await asyncio.sleep(_RETRY_SECONDS)
