"""Password hashing beside the event loop and outside transactions, a bounded amount of it, at low priority.

Anybody who reaches the studio can ask for a hash (64 MiB and four threads of it for a tenth of a second), so however
many ask, a few at a time are computed, few wait, and the rest are told to come again.
"""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from backend.core.errors import TooManyError, UnavailableError
from backend.identity.secrets import hash_password, password_matches

T = TypeVar("T")
_NICE = 14  # below everything that answers people (the application itself is at 10), above jobs
_CORES_PER_HASH = 4  # argon2's own threads


class PasswordHashing:
    """`at_once` hashes are computed, `waiting` may wait or be computed, `per_caller` of them for one caller.

    `reserved` more may wait for callers that are known: signed in, holding a link, or on a device that was signed in.
    """

    def __init__(
        self, *, at_once: int | None = None, waiting: int = 24, reserved: int = 8, per_caller: int = 8
    ) -> None:
        at_once = at_once or max(1, min(4, (os.cpu_count() or 1) // _CORES_PER_HASH))
        self._waiting, self._reserved, self._per_caller = waiting, reserved, per_caller
        self._callers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="password", initializer=_low_priority)

    async def hash(self, password: str, *, caller: str, known: bool = False) -> str:
        """Raises TooManyError where too many wait."""
        return await self._run(lambda: hash_password(password), caller, known)

    async def matches(self, password: str, password_hash: str | None, *, caller: str, known: bool = False) -> bool:
        """stored: None for a name that does not exist, which takes as long. Raises TooManyError where too many wait."""
        return await self._run(lambda: password_matches(password, password_hash), caller, known)

    async def _run(self, work: Callable[[], T], caller: str, known: bool) -> T:
        with self._lock:
            room = self._waiting + (self._reserved if known else 0)
            if self._callers.total() >= room or self._callers[caller] >= self._per_caller:
                raise TooManyError("Too many sign in at this moment; try again in a second.", retry_seconds=1)
            self._callers[caller] += 1
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._gone(caller)
            raise UnavailableError("The studio is being stopped; try again when it is back.") from None
        future.add_done_callback(lambda _: self._gone(caller))
        return await asyncio.wrap_future(future)  # whoever stops waiting takes the work out of the queue

    def _gone(self, caller: str) -> None:
        with self._lock:
            self._callers[caller] -= 1
            if self._callers[caller] <= 0:
                del self._callers[caller]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _low_priority() -> None:
    """Of this thread alone, as Linux has it; the threads that argon2 starts from it inherit it."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
