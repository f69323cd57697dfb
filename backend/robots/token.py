"""The secret that the API and the robot hosts of this machine share. See docs/decisions/robot-host.md."""

from pathlib import Path

from backend.identity.secrets import new_token
from dexvla.files import atomic_file


def host_token(secrets_folder: Path) -> str:
    """The secret between API and robot hosts, made on first use, readable by the studio's user alone."""
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
