"""Dataset versions made of real episode files, as the studio stores them, and models below a root."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.context import Studio
from backend.datasets.models import Dataset, DatasetVersion
from backend.db import new_id
from dexvla.episodes.manifest import EpisodeSet, build_manifest, save_manifest


def make_version(studio: Studio, make_episode: Callable[..., Path], *, count: int = 2, **options: Any) -> str:
    """A dataset of `count` episodes (options of tests.conftest.episode_data), frozen into a version; returns its id."""
    dataset_id, version_id = new_id(), new_id()
    folder = studio.settings.folder
    start = options.pop("seed", 0)
    paths = tuple(
        make_episode(folder.episode(dataset_id, new_id()), seed=start + number, **options) for number in range(count)
    )
    manifest, _ = build_manifest(EpisodeSet(name="demo", paths=paths))
    save_manifest(folder.manifest(version_id), manifest)
    labelled = sum(part.end - part.start for entry in manifest.episodes for part in entry.substeps if part.text)
    with studio.db.transaction() as db:
        db.add(Dataset(id=dataset_id, name=f"demo {dataset_id[:6]}"))
        db.flush()
        db.add(
            DatasetVersion(
                id=version_id,
                dataset_id=dataset_id,
                number=1,
                manifest_sha256=hashlib.sha256(folder.manifest(version_id).read_bytes()).hexdigest(),
                episodes=count,
                steps=sum(entry.steps for entry in manifest.episodes),
                labelled_steps=labelled,
                cameras=list(manifest.cameras),
                action_dim=manifest.action_dim,
                state_dim=manifest.state_dim,
                episode_ids=[path.stem for path in paths],
            )
        )
    return version_id
