"""What takes torch to make, and is the same for all tests of the same code: made once and kept in build/made."""

import fcntl
import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

from tests.support.paths import ROOT

MADE = ROOT / "build" / "made"


def tiny_base_model(folder: Path) -> Path:
    """What `init-model` makes, as a copy at `folder`, which does not exist yet."""
    kept = MADE / f"base-{_code()}"
    MADE.mkdir(parents=True, exist_ok=True)
    with (MADE / "lock").open("w") as lock:  # several processes may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            from dexvla.model.init_model import init_model

            for older in MADE.glob("base-*"):
                shutil.rmtree(older)
            init_model(kept)  # is there whole or not at all
        return Path(shutil.copytree(kept, folder))


def _code() -> str:
    """Of whatever it is made by: another state of that makes another one."""
    found = hashlib.sha256(f"{version('torch')} {version('transformers')}".encode())
    for file in sorted((ROOT / "dexvla").rglob("*.py")):
        found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]
