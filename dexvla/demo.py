"""The checkpoint that comes with the project: a policy that was trained with it, to watch before one has one's own."""

from pathlib import Path

from dexvla.errors import CheckpointError
from dexvla.spec import DEMO_FOLDER

__all__ = ["DEMO_FOLDER", "demo_checkpoint"]


def demo_checkpoint() -> Path:
    """Its directory. Raises CheckpointError where the installation has none."""
    if not (DEMO_FOLDER / "config.json").is_file():
        raise CheckpointError(
            f"the demo checkpoint is not part of this installation (no {DEMO_FOLDER}/config.json); "
            "train a policy, or take a newer version"
        )
    return DEMO_FOLDER
