"""Where the files of a checkpoint are: the one place that knows. All of it follows from its run and step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.core.archive import tar_parts
from backend.core.downloads import Part
from backend.core.errors import ConflictError
from backend.core.folders import DataFolder
from backend.store.base import Store, Stored, StoreDamagedError
from backend.store.parts import stored_part
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from dexvla.checksums import MANIFEST, file_sha256
from dexvla.files import atomic_directory
from dexvla.spec import step_name

_OUTLINE_BYTES = 2**20  # of a JSON file that an outline has as it is; a tokenizer is larger
_INDEX = ".index.json"
_WEIGHTS = ".safetensors"


def checkpoint_place(folder: DataFolder, row: Checkpoint) -> Path:
    """Where its trainer wrote it, or would have, in a data folder."""
    return folder.run(row.run_id) / "checkpoints" / step_name(row.step)


def stored_files(studio: Studio, row: Checkpoint) -> dict[str, Stored]:
    """By name, in the order of the row."""
    key = key_of(studio.settings.data, checkpoint_place(studio.settings.folder, row))
    return {
        str(one["name"]): Stored(key=f"{key}/{one['name']}", sha256=one["sha256"], size=one["size"])
        for one in row.files
    }


def checkpoint_folder(studio: Studio, row: Checkpoint) -> Path:
    """All of its files on this machine, gigabytes perhaps, to be loaded at once or held (backend.store.hold).

    May not be there, where the data folder is the store. Raises ConflictError for what is gone from a store elsewhere
    or damaged there, StoreAwayError.
    """
    here = checkpoint_place(studio.settings.folder, row)
    if not studio.store.remote or _is_here(here, row):
        return here
    with _told(row):
        return studio.store.folder(row.sha256, stored_files(studio, row).values())


def checkpoint_outline(studio: Studio, row: Checkpoint) -> Path:
    """A folder that tells what the checkpoint is, without its weights: its JSON files as they are, and files of weights
    with their headers and sizes, the rest of which is a hole.

    In a data folder, and where the weights are at hand, it is the checkpoint itself. Raises as `checkpoint_folder`.
    """
    here = checkpoint_place(studio.settings.folder, row)
    if not studio.store.remote or _is_here(here, row):
        return here
    outline = studio.settings.folder.cache / "outlines" / row.sha256
    if not outline.is_dir():
        with _told(row):
            try:
                with atomic_directory(outline) as temporary:
                    for name, file in stored_files(studio, row).items():
                        _outline(studio.store, file, temporary / name)
            except FileExistsError:  # another request was quicker
                pass
    return outline


def _is_here(here: Path, row: Checkpoint) -> bool:
    """On the machine that trained it, unless that step was trained again by a later attempt."""
    try:
        return file_sha256(here / MANIFEST) == row.sha256
    except OSError:
        return False


def _outline(store: Store, file: Stored, target: Path) -> None:
    if (
        target.name == MANIFEST
        or target.name.endswith(_INDEX)
        or (target.suffix == ".json" and file.size <= _OUTLINE_BYTES)
    ):
        target.write_bytes(b"".join(store.read(file.key, 0, file.size)))
        if file_sha256(target) != file.sha256:
            raise StoreDamagedError(f"{target.name} is damaged in the store")
        return
    with target.open("xb") as opened:
        if target.suffix == _WEIGHTS and file.size >= 8:
            length = b"".join(store.read(file.key, 0, 8))
            opened.write(length)
            end = min(8 + int.from_bytes(length, "little"), file.size)
            for block in store.read(file.key, 8, end):
                opened.write(block)
        opened.truncate(file.size)


@contextmanager
def _told(row: Checkpoint) -> Iterator[None]:
    """What is wrong with a checkpoint in a store elsewhere, in words."""
    try:
        yield
    except (FileNotFoundError, StoreDamagedError) as error:
        raise ConflictError(
            f"The checkpoint of step {row.step} is not whole in the store: {error}. Restore it from a backup, or "
            "delete it and use another one."
        ) from error


def archive_parts(studio: Studio, row: Checkpoint, name: str) -> tuple[Part, ...]:
    """The archive of a checkpoint: folder `name` with its files in the order of the row."""
    files = [(key, part) for key, part in file_parts(studio, row).items()]
    return tar_parts(name, files, mtime=row.info["mtime"])


def file_parts(studio: Studio, row: Checkpoint) -> dict[str, Part]:
    """Its files as they are sent, by name: from this machine, or range by range from the store."""
    here = checkpoint_place(studio.settings.folder, row)
    if not studio.store.remote or _is_here(here, row):
        return {one["name"]: Part(size=one["size"], file=here / one["name"]) for one in row.files}
    return {name: stored_part(studio.store, file) for name, file in stored_files(studio, row).items()}
