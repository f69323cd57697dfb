"""Where the files of a registered model are. Below a root of the administrator each machine has them at the same place;
one that the studio made lies in its data folder, and in the store if that is elsewhere."""

from pathlib import Path

from backend.core.folders import DataFolder
from backend.store.small import obtain_folder
from backend.studio.context import Studio
from backend.tables.base_model import RegisteredModel
from dexvla.checksums import check_sums


def made_here(row: RegisteredModel) -> bool:
    """Whether the studio made it, on whatever machine."""
    return Path(row.path).parts[-2:] == ("models", row.id)


def model_place(folder: DataFolder, row: RegisteredModel) -> Path:
    """Where it lies on this machine, if it is there."""
    return folder.models / row.id if made_here(row) else Path(row.path)


def model_path(studio: Studio, row: RegisteredModel) -> Path:
    """On this machine, fetched if another one made it; may not be there. Raises CheckpointError, StoreAwayError."""
    path = model_place(studio.settings.folder, row)
    if not made_here(row):
        return path

    def check(fetched: Path) -> None:
        if row.files:
            check_sums(fetched, row.files, source="its registration", remedy="Make the model again")

    return obtain_folder(studio.store, studio.settings.data, path, check=check)
