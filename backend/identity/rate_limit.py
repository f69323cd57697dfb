"""The sign-in rate limiter: guessing is slowed down, and nobody can keep another person out.

Tries count against the address, and against name and address together, so that whoever guesses at a name from one
address stops nobody at another. While a name is guessed at from many addresses, each has fewer tries for it, but
never none. A browser that signed in with a name before carries a device cookie (see `Devices`) and is counted by
itself: it gets in even from the address of the one who guesses.
"""

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from backend.core.errors import TooManyError
from backend.identity.secrets import ensure_secret

WINDOW_SECONDS = 300.0
TRIES_PER_ADDRESS = 50
TRIES_PER_PAIR = 10
TRIES_PER_PAIR_UNDER_ATTACK = 3
ATTACK = 30  # tries for one name, from anywhere, in the window
TRIES_PER_DEVICE = 10
_KEYS = 20_000  # that are remembered; the least recent go first


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A try that has been counted."""

    keys: tuple[str, ...]


class SignInRateLimiter:
    """Counts tries in this process. A try is counted when it begins, so that many at once are many."""

    def __init__(self, *, seconds: float = WINDOW_SECONDS, keys: int = _KEYS) -> None:
        self._seconds, self._keys = seconds, keys
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def sign_in(self, name: str, address: str, device: str | None) -> Attempt:
        """Count a try with `name`; device: the browser's, if it signed in with this name before.

        Raises TooManyError with the seconds to wait.
        """
        name = hashlib.sha256(name.lower().encode()).hexdigest()
        if device is not None:
            return self.attempt({f"device|{device}": TRIES_PER_DEVICE})
        attacked = self._count(f"name|{name}") >= ATTACK
        pair = TRIES_PER_PAIR_UNDER_ATTACK if attacked else TRIES_PER_PAIR
        return self.attempt(
            {f"pair|{name}|{address}": pair, f"address|{address}": TRIES_PER_ADDRESS, f"name|{name}": None}
        )

    def attempt(self, limits: dict[str, int | None]) -> Attempt:
        """Count a try against each key; a key without a limit only counts. Raises TooManyError."""
        now = time.monotonic()
        with self._lock:
            waits = [
                tries[len(tries) - limit] + self._seconds - now
                for key, limit in limits.items()
                if limit is not None and len(tries := self._recent(key, now)) >= limit
            ]
            if waits:
                seconds = int(max(waits)) + 1
                raise TooManyError(f"Too many failed attempts. Try again in {seconds} s.", retry_seconds=seconds)
            for key in limits:
                self._recent(key, now).append(now)
        return Attempt(keys=tuple(limits))

    def forgive(self, attempt: Attempt) -> None:
        """It was no guess: it counts no more. What others tried at the same keys goes on counting."""
        with self._lock:
            for key in attempt.keys:
                tries = self._tries.get(key)
                if tries:
                    tries.pop()

    def _count(self, key: str) -> int:
        with self._lock:
            return len(self._recent(key, time.monotonic()))

    def _recent(self, key: str, now: float) -> deque[float]:
        tries = self._tries.setdefault(key, deque(maxlen=max(ATTACK, TRIES_PER_ADDRESS)))
        self._tries.move_to_end(key)
        while tries and tries[0] < now - self._seconds:
            tries.popleft()
        while len(self._tries) > self._keys:
            self._tries.popitem(last=False)
        return tries


class Devices:
    """The device cookie: says that a browser signed in with a name before, and nothing else.

    It lets nobody in. It is an id and a keyed hash of id and name, so that nothing of it has to be stored.
    """

    COOKIE = "studio_device"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _key(self) -> bytes:
        return ensure_secret(self._folder / "devices").encode()

    def cookie(self, name: str) -> str:
        device = secrets.token_urlsafe(16)
        return f"{device}.{self._seal(device, name)}"

    def device(self, cookie: str | None, name: str) -> str | None:
        """The id in a cookie that was made for this name, else None."""
        device, _, seal = (cookie or "").partition(".")
        fits = hmac.compare_digest(seal.encode(), self._seal(device, name).encode())
        return device if device and fits else None

    def _seal(self, device: str, name: str) -> str:
        return hmac.new(self._key, f"{device}|{name.lower()}".encode(), hashlib.sha256).hexdigest()


def network_of(address: str | None) -> str:
    """What tries from an address are counted by: itself, or for IPv6 the /64 that one subscriber has."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "elsewhere"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
