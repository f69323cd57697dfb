"""What a robot host is told by whoever starts it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """folder: of locks, the stop's record and recordings that are not handed in yet. logs: of policies that it starts.

    token: what the studio shows when it asks this host; None: known after the first announcement. listen: the address
    that the host's server listens on. address: HOST:PORT by which the studio reaches it, if that is another; the host
    then listens on all addresses. policy_servers: as `dexvla.live.policy_servers.allows` wants them. elsewhere: on a
    machine that has none of the studio's files.
    """

    folder: Path
    logs: Path
    token: str | None = None
    listen: str = "127.0.0.1"
    address: str | None = None
    policy_servers: tuple[str, ...] = ()
    elsewhere: bool = False
