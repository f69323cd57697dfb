"""The secret with which the API asks robot hosts: each has one of its own. See docs/decisions/robot-host.md."""

import hashlib
import hmac
from pathlib import Path

from backend.identity.secrets import new_token
from dexvla.files import atomic_file


def host_token(secrets_folder: Path, robot: str) -> str:
    """What the host of `robot` is asked with: a code (hex) of its name under the studio's secret, so that the host of
    one robot cannot command another one."""
    return token_under(hosts_secret(secrets_folder), robot)


def token_under(secret: str, robot: str) -> str:
    """As `host_token`, under a secret that was read before."""
    return hmac.new(secret.encode(), f"robot host {robot}".encode(), hashlib.sha256).hexdigest()


def hosts_secret(secrets_folder: Path) -> str:
    """Made on first use, readable by the studio's user alone."""
    file = secrets_folder / "robot-host"
    while True:
        try:
            return file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            try:
                with atomic_file(file, overwrite=False) as temporary:
                    temporary.touch(mode=0o600)
                    temporary.write_text(new_token(), encoding="ascii")
            except FileExistsError:  # the other side was faster
                continue
