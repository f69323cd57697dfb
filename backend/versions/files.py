"""Where the manifest of a dataset version is, and what of a version a job elsewhere needs on its own machine."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from backend.core.errors import ConflictError, InvalidError
from backend.episodes.files import file_of
from backend.store.hold import hold
from backend.store.small import obtain
from backend.studio.context import Studio
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from dexvla.episodes.known import KnownEpisodes
from dexvla.episodes.manifest import load_manifest, manifest_hash, save_manifest


def manifest_of_version(studio: Studio, version: DatasetVersion) -> Path:
    """Its file on this machine; not there if it is gone. Raises ConflictError for one that is damaged in a store
    elsewhere, StoreAwayError."""
    path = studio.settings.folder.manifest(version.id)

    def check(file: Path) -> None:
        if manifest_hash(load_manifest(file)) != version.manifest_sha256:
            raise ConflictError(
                f"The manifest of dataset version {version.number} is damaged in the store; restore it from a backup."
            )

    return obtain(studio.store, studio.settings.data, path, check=check)


def rows_of(db: Session, studio: Studio, version: DatasetVersion) -> list[EpisodeRow]:
    """Its episodes, for `held_version`; none are needed where all machines share a data folder. Raises InvalidError."""
    if not studio.store.remote:
        return []
    found = [db.get(EpisodeRow, episode_id) for episode_id in version.episode_ids]
    rows = [row for row in found if row is not None]
    if len(rows) < len(found):
        raise InvalidError(f"An episode of dataset version {version.number} was deleted; make a version without it.")
    return rows


def held_version(studio: Studio, version: DatasetVersion, rows: Sequence[EpisodeRow], target: Path) -> Path:
    """A manifest whose episodes lie beside it, all of them on this machine until `target` is removed.

    The labels and identities are those of the version. In a data folder that all machines share it is the version's
    own. Raises InvalidError for what is gone, UserError for what is damaged, StoreAwayError.
    """
    path = manifest_of_version(studio, version)
    if not studio.store.remote:
        return path
    if not path.is_file():
        raise InvalidError(f"The manifest of dataset version {version.number} is gone; restore it from a backup.")
    manifest = load_manifest(path)
    known = KnownEpisodes.below(studio.settings.folder.cache)
    entries = []
    for row, entry in zip(rows, manifest.episodes, strict=True):
        file = hold(file_of(studio, row), target / f"{row.id}.hdf5")
        if row.sha256 is not None:  # the store's cache has compared it
            known.note(file, row.sha256)
        entries.append(entry.model_copy(update={"path": file.name}))
    held = target / "manifest.json"
    save_manifest(held, manifest.model_copy(update={"episodes": tuple(entries)}))
    return held
