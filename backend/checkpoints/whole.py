"""Whether a checkpoint's files are still those that were saved, told before anybody trains from them or loads them."""

from collections.abc import Sequence
from typing import Any

from backend.checkpoints.files import checkpoint_outline, checkpoint_place, stored_files
from backend.checkpoints.names import checkpoint_name
from backend.core.errors import ConflictError
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.run import Run
from dexvla.checksums import MANIFEST, file_sha256


def require_whole(studio: Studio, row: Checkpoint, run: Run, files: Sequence[Any]) -> None:
    """Raise ConflictError unless these entries of `row.files` are what was saved, byte by byte; each is read once.

    Of weights in a store elsewhere only that they are there, with their size: what is loaded from it is compared then.
    """
    folder = checkpoint_outline(studio, row)
    stored = {} if folder == checkpoint_place(studio.settings.folder, row) else stored_files(studio, row)
    for entry in files:
        wrong = None
        try:
            if (file := stored.get(entry["name"])) is not None and entry["name"] != MANIFEST:
                if studio.store.size(file.key) != file.size:
                    raise FileNotFoundError(file.key)
                continue
            found = file_sha256(folder / entry["name"])
            if found != entry["sha256"]:
                wrong = f"was changed or damaged: its sha256 is {found[:16]}..., saved was {entry['sha256'][:16]}..."
        except OSError:
            wrong = "is gone or cannot be read"
        if wrong is not None:
            raise ConflictError(
                f"{entry['name']} of {checkpoint_name(run, row)} {wrong}. Restore the checkpoint from a backup, or "
                "delete it and use another one.",
                detail={"file": entry["name"]},
            )


def require_manifest(studio: Studio, row: Checkpoint, run: Run) -> None:
    """The manifest alone: whoever loads the checkpoint compares the other files with it."""
    require_whole(studio, row, run, [one for one in row.files if one["name"] == MANIFEST])
