"""What the dataset versions of a run hold, read from their manifests."""

import json
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.episodes import repository
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.versions.files import manifest_of_version
from dexvla.spec.data import IDENTITY_VERSION


@dataclass(frozen=True, kw_only=True)
class Episode:
    path: str
    identity: str
    steps: int
    labelled: int


@dataclass(frozen=True, kw_only=True)
class Data:
    """A dataset version. name: dataset and number, for people. manifest: None if its file is gone."""

    version_id: str
    name: str
    cameras: tuple[str, ...]
    action_dim: int
    state_dim: int
    manifest: Path | None
    render_profile: str | None
    fps: float | None
    episodes: tuple[Episode, ...]
    elsewhere: bool = False  # their files are in a store elsewhere

    @property
    def steps(self) -> int:
        return sum(episode.steps for episode in self.episodes)

    @property
    def labelled(self) -> int:
        return sum(episode.labelled for episode in self.episodes)

    def missing(self) -> list[str]:
        """Episode files that are gone. Of a store elsewhere nothing is asked here: whoever fetches a file tells."""
        if self.elsewhere:
            return []
        gone = [episode.path for episode in self.episodes if not Path(episode.path).is_file()]
        return [os.path.normpath(path) for path in gone]


def read(db: Session, studio: Studio, version_ids: list[str]) -> dict[str, Data]:
    """By id; versions that do not exist are left out."""
    rows = db.execute(
        select(DatasetVersion, Dataset.name)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(DatasetVersion.id.in_(version_ids))
    )
    found = {version.id: (version.dataset_id, _data(studio, version, name)) for version, name in rows}
    older = {dataset for dataset, data in found.values() if any(not _current(one) for one in data.episodes)}
    names = repository.identities(db, older) if older else {}
    return {key: _with_names(data, names) for key, (_, data) in found.items()}


def _current(episode: Episode) -> bool:
    return episode.identity.startswith(IDENTITY_VERSION)


def _with_names(data: Data, names: dict[str, tuple[str, ...]]) -> Data:
    """An older version's episodes under today's identities: the same file is the same episode in every version."""
    episodes = [
        one if _current(one) else replace(one, identity=names.get(Path(one.path).stem, (one.identity,))[0])
        for one in data.episodes
    ]
    return replace(data, episodes=tuple(episodes))


def _data(studio: Studio, version: DatasetVersion, name: str) -> Data:
    manifest = manifest_of_version(studio, version)
    there = manifest.is_file()
    changed = manifest.stat().st_mtime_ns if there else 0
    render_profile, fps, episodes = _episodes(str(manifest), changed) if there else (None, None, ())
    return Data(
        version_id=version.id,
        name=f"{name} v{version.number}",
        cameras=tuple(version.cameras),
        action_dim=version.action_dim,
        state_dim=version.state_dim,
        manifest=manifest if there else None,
        render_profile=render_profile,
        fps=fps,
        episodes=episodes,
        elsewhere=studio.store.remote,
    )


@lru_cache(maxsize=128)
def _episodes(manifest: str, changed: int) -> tuple[str | None, float | None, tuple[Episode, ...]]:
    """Render profile, rate and episodes of a manifest, which never changes."""
    path = Path(manifest)
    entries = json.loads(path.read_text(encoding="utf-8"))["episodes"]
    episodes = tuple(
        Episode(
            path=str(path.parent / entry["path"]),
            identity=entry["identity"],
            steps=entry["steps"],
            labelled=sum(part["end"] - part["start"] for part in entry["substeps"] if part["text"].strip()),
        )
        for entry in entries
    )
    return entries[0].get("render_profile"), entries[0].get("fps"), episodes
