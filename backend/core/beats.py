"""Signs of life in the broker: keys that lapse by themselves unless they are set again.

They lapse by the wall clock of the broker's machine. One that is set back lets the dead live for as long: a key that
has longer to go than it was given says nothing, until whoever lives sets it again.
"""

from typing import cast

import redis

_ROUNDING_MS = 50


def is_fresh(left_ms: object, *, seconds: float) -> bool:
    """left_ms: what PTTL says of a key that is given `seconds` each time."""
    return isinstance(left_ms, int) and 0 < left_ms <= seconds * 1000 + _ROUNDING_MS


def fresh_keys(broker: "redis.Redis", pattern: str, *, seconds: float) -> list[str]:
    """Keys like `pattern` that were set within the last seconds, in order. Raises redis.RedisError."""
    keys = sorted(cast(bytes, key).decode() for key in broker.scan_iter(pattern, count=1000))
    with broker.pipeline(transaction=False) as ask:
        for key in keys:
            ask.pttl(key)
        left = ask.execute()
    return [key for key, one in zip(keys, left, strict=True) if is_fresh(one, seconds=seconds)]
