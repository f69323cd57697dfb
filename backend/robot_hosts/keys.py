"""Keys of robot hosts on other machines: each opens what one robot's host needs, and nothing else.

Kept as sums below the studio's secrets, not in the database: a host goes on being known while the database is away.
"""

import hmac
import re
from pathlib import Path

from backend.identity.secrets import new_token, token_hash
from dexvla.files import atomic_file
from dexvla.live.hosting import KEY_PREFIX, ROBOT_NAME


def make(secrets_folder: Path, robot: str) -> str:
    """A new key for the host of `robot`; one from before opens nothing any more. Raises ValueError for what is no name
    of a robot."""
    file = _file(secrets_folder, robot)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    key = f"{KEY_PREFIX}{new_token()}"
    with atomic_file(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(token_hash(key), encoding="ascii")
    return key


def remove(secrets_folder: Path, robot: str) -> bool:
    """False if there was none. Raises ValueError for what is no name of a robot."""
    try:
        _file(secrets_folder, robot).unlink()
    except FileNotFoundError:
        return False
    return True


def opens(secrets_folder: Path, robot: str, authorization: str) -> bool:
    """Whether the header `authorization` carries the key of this robot's host."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.startswith(KEY_PREFIX):
        return False
    try:
        kept = _file(secrets_folder, robot).read_text(encoding="ascii").strip()
    except (FileNotFoundError, ValueError):
        return False
    return hmac.compare_digest(kept, token_hash(given.strip()))


def _file(secrets_folder: Path, robot: str) -> Path:
    if not re.fullmatch(ROBOT_NAME, robot):
        raise ValueError(f"robot name {robot!r}: expected letters, digits, _ . - and at most 64 of them")
    return secrets_folder / "robot-keys" / robot
