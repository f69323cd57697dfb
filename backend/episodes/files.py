"""Where the file of an episode is: the one place that knows. Everybody else asks for a path, to open it at once."""

from pathlib import Path

from backend.core.errors import NotFoundError
from backend.core.folders import DataFolder
from backend.store.base import Stored, StoreDamagedError
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError


def episode_key(dataset_id: str, episode_id: str) -> str:
    return f"episodes/{dataset_id}/{episode_id}.hdf5"


def stored(row: EpisodeRow) -> Stored:
    return Stored(key=episode_key(row.dataset_id, row.id), sha256=row.sha256, size=row.size_bytes)


def file_of(studio: Studio, row: EpisodeRow) -> Path:
    """A file of this machine, to be opened at once and never changed.

    Raises NotFoundError if it is gone, EpisodeError if the store holds something else, StoreAwayError.
    """
    try:
        return studio.store.path(stored(row))
    except FileNotFoundError:
        raise NotFoundError(f"The file of episode {row.number} is gone; restore it from a backup.") from None
    except StoreDamagedError as error:
        raise EpisodeError(f"episode {row.number}: {error}") from error


def own_file(studio: Studio, row: EpisodeRow) -> Path:
    """The file, which never changes after the intake. Where its size is another than then, it is read and hashed: a
    studio that was killed while it wrote labels into files may have left one.

    Raises NotFoundError if it is gone, EpisodeError if it holds another episode.
    """
    path = file_of(studio, row)
    if path.stat().st_size != row.size_bytes:
        with open_episode(path) as opened:
            if not episode_identities(opened).is_called(row.identity):
                raise EpisodeError(
                    f"episode {row.number}: its file holds another motion or other images than when it was taken in; "
                    "restore it from a backup"
                )
    return path


def refuse_changed(studio: Studio, row: EpisodeRow) -> None:
    """As `own_file`, for whoever does not read the file: of a store elsewhere its size is asked for, and nothing is
    fetched.

    Raises NotFoundError, EpisodeError, StoreAwayError.
    """
    if not studio.store.remote:
        own_file(studio, row)
        return
    size = studio.store.size(stored(row).key)
    if size is None:
        raise NotFoundError(f"The file of episode {row.number} is gone; restore it from a backup.")
    if size != row.size_bytes:
        raise EpisodeError(
            f"episode {row.number}: {studio.store.name} holds {size} bytes of it, {row.size_bytes} were taken in; "
            "restore it from a backup"
        )


def present(studio: Studio, dataset_id: str) -> set[str]:
    """Ids of a dataset's episodes whose files are there, in one look."""
    return {Path(one.key).stem for one in studio.store.list(f"episodes/{dataset_id}")}


def place(folder: DataFolder, row: EpisodeRow) -> Path:
    """Where the file lies, or would lie, in a data folder: manifests name episodes so."""
    return folder.root / episode_key(row.dataset_id, row.id)
