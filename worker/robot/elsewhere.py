"""`studio robot --studio URL --key KEY`: a robot host on a machine that has nothing of the studio but its address."""

import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from dexvla.errors import UserError
from dexvla.live import policy_servers
from worker.robot import main
from worker.robot.http_store import HttpStore
from worker.robot.plugged import DEFAULT_ROBOT
from worker.robot.settings import HostSettings


def run(
    *,
    studio: str,
    key: str,
    data: Path,
    name: str = "aloha-sim",
    port: int = 0,
    address: str | None = None,
    servers: str = "",
    robot: str = DEFAULT_ROBOT,
    options: Mapping[str, Any] = MappingProxyType({}),
    task: str = "",
) -> None:
    """As `worker.robot.main.run`, beside a studio at `studio` that knows `key`.

    data: folder of what the host keeps, made where it is missing. address: HOST:PORT by which the studio reaches this
    machine; by default this machine's address on the way to the studio, and the host listens there alone. servers:
    policy servers, as STUDIO_POLICY_SERVERS lists them.
    """
    folder = data.absolute() / "robots"
    folder.mkdir(parents=True, exist_ok=True)
    (logs := data.absolute() / "logs").mkdir(exist_ok=True)
    try:
        allowed = policy_servers.listed(servers)
    except ValueError as error:
        raise UserError(f"STUDIO_POLICY_SERVERS: {error}") from None
    store = HttpStore(studio, key, name=name, token_file=folder / f"{name}.token")
    try:
        settings = HostSettings(
            folder=folder,
            logs=logs,
            token=store.token,
            listen=_own_address(studio) if address is None else "127.0.0.1",
            address=address,
            policy_servers=allowed,
            elsewhere=True,
        )
        main.run(settings, store, name=name, port=port, robot=robot, options=options, task=task)
    finally:
        store.close()


def _own_address(url: str) -> str:
    """The address of this machine that a connection to `url` comes from. Raises UserError."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((host, port))  # sends nothing
            return str(way.getsockname()[0])
    except OSError as error:
        raise UserError(
            f"--studio {url}: there is no way there ({error.strerror or error}); look at the name and the network, or "
            "say with STUDIO_ROBOT_ADDRESS=HOST:PORT where the studio reaches this machine"
        ) from error
