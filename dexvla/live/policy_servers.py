"""Which policy servers a robot host may connect to: those that somebody listed. Nobody else's address is followed."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_SERVER = re.compile(r"(?:[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?|\[[0-9a-f:.]+\]):(?:[0-9]{1,5}|\*)")


def listed(given: str | Iterable[str]) -> tuple[str, ...]:
    """given: HOST:PORT or HOST:* for any port, separated by commas or spaces. Raises ValueError for what is neither."""
    found = re.split(r"[,\s]+", given) if isinstance(given, str) else given
    servers = tuple(str(one).lower() for one in found if one)
    wrong = [one for one in servers if not _SERVER.fullmatch(one)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not a policy server; expected HOST:PORT or HOST:*, [ADDRESS]:PORT for IPv6")
    return servers


def allows(servers: Iterable[str], url: str) -> bool:
    """Whether `url` (ws:// or wss://) is one of `servers`, as `listed` gives them. False for what is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
    except ValueError:
        return False
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" in servers or f"{host}:*" in servers
