"""What a checkpoint is called. All of it follows from its run and step."""

from backend.core.names import file_name
from backend.tables.checkpoint import Checkpoint
from backend.tables.run import Run
from dexvla.spec import step_name


def checkpoint_name(run: Run, row: Checkpoint) -> str:
    """For people, on every page and in every message: pick cube, step 200."""
    return f"{run.name}, step {row.step}"


def archive_name(run_name: str, step: int) -> str:
    """Of the archive, without its ending, and of the folder in it: pick-cube-step-0000200. Its hash hangs on this."""
    return f"{file_name(run_name)}-{step_name(step)}"
