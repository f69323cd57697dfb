"""Dataset versions made of real episode files, as the studio stores them, and models below a root."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.core.db import new_id
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.training import service as training
from backend.training.schemas import RunIn
from dexvla.episodes.manifest import EpisodeSet, build_manifest, save_manifest

ME = Actor(id="0" * 32, name="Ada", role=Role.OPERATOR)
SMALL = {
    "steps": 6,
    "batch_size": 2,
    "save_every": 2,
    "log_every": 1,
    "chunk_size": 8,
    "image_height": 56,
    "image_width": 84,
    "keep_checkpoints": 2,
    "device": "cpu",
}


def make_version(studio: Studio, make_episode: Callable[..., Path], *, count: int = 2, **options: Any) -> str:
    """A dataset of `count` episodes (options of tests.support.episode_data), frozen into a version; returns its id."""
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


def stage_2(studio: Studio, base_model: Path, make_episode: Callable[..., Path], **fields: Any) -> RunIn:
    """The form of a small run of stage 2 on two episodes, from a tiny base model."""
    model = RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1)
    with studio.db.transaction() as db:
        db.add(model)
    return RunIn.model_validate(
        {
            "name": "pick cube",
            "stage": 2,
            "preset": "tiny",
            "sources": [{"version_id": make_version(studio, make_episode)}],
            "base_model_id": model.id,
            "fields": {**SMALL, **fields},
        }
    )


def start(studio: Studio, body: RunIn) -> tuple[str, str]:
    """Queue a run; returns the ids of run and job."""
    with studio.db.transaction() as db:
        run = training.start(db, ME, studio, body)
        return run.id, run.job.id
