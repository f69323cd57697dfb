"""A second sign of life of a robot host beside its row: a key in the broker, which lapses by itself.

A row cannot be renewed while somebody holds SQLite's lock, or the disk is full; the robot is there all the same.
"""

from contextlib import suppress

import redis
from pydantic import ValidationError

from backend.core.beats import fresh_keys, is_fresh
from backend.robots.stopping import PRESENT
from backend.studio.context import Studio
from dexvla.live.status import HostStatus

_KEY = "studio:robot:{}"
_SECONDS = int(PRESENT.total_seconds())


def sign(studio: Studio, name: str, status: HostStatus) -> None:
    """Best effort; to be repeated every two seconds."""
    with suppress(redis.RedisError):
        studio.broker.set(_KEY.format(name), status.model_dump_json(), ex=_SECONDS)


def withdraw(studio: Studio, name: str) -> None:
    with suppress(redis.RedisError):
        studio.broker.delete(_KEY.format(name))


def signed(studio: Studio, name: str) -> HostStatus | None:
    """What the host said of itself within the last seconds; None if it was not heard, or the broker is away."""
    key = _KEY.format(name)
    try:
        found = studio.broker.get(key)
        if found is None or not is_fresh(studio.broker.pttl(key), seconds=_SECONDS):
            return None
        return HostStatus.model_validate_json(found)
    except (redis.RedisError, ValidationError):
        return None


def count(studio: Studio) -> int:
    """Hosts that are heard. Raises redis.RedisError."""
    return len(fresh_keys(studio.broker, _KEY.format("*"), seconds=_SECONDS))
