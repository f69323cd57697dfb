"""Where a checkpoint lies and what it is called. Both follow from its run and step."""

from pathlib import Path

from backend.core.names import file_name
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.run import Run
from dexvla.spec import step_name


def checkpoint_folder(studio: Studio, row: Checkpoint) -> Path:
    return studio.settings.folder.run(row.run_id) / "checkpoints" / step_name(row.step)


def checkpoint_name(run: Run, row: Checkpoint) -> str:
    """For people and for the archive: pick-cube-step-0000200."""
    return f"{file_name(run.name)}-{step_name(row.step)}"
