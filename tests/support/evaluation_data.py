"""A studio with a checkpoint that can be evaluated, without having been trained there."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from dexvla.episodes.manifest import build_manifest, find_set, save_manifest


@dataclass(frozen=True, kw_only=True)
class Ids:
    run: str
    checkpoint: str
    version: str


def add_checkpoint(studio: Studio, trained: Path, demos: Path) -> Ids:
    """The checkpoint as one of the studio's, and a dataset version of all three demos."""
    folder = studio.settings.folder
    manifest, _ = build_manifest(find_set(str(demos)))
    with studio.db.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="run", payload={}, state=JobState.DONE)
        dataset = Dataset(name="demos")
        db.add_all([job, dataset])
        db.flush()
        run = Run(name="pick cube", stage=2, spec={}, sources=[], job_id=job.id)
        db.add(run)
        db.flush()
        checkpoint = Checkpoint(
            run_id=run.id, step=2, stage=2, attempt=1, sha256="0" * 64, size_bytes=1, files=[], archive_sha256="0" * 64
        )
        version = DatasetVersion(
            dataset_id=dataset.id, number=1, manifest_sha256="0" * 64, episodes=3, steps=72, labelled_steps=72,
            cameras=list(manifest.cameras), action_dim=14, state_dim=14, episode_ids=[],
        )  # fmt: skip
        db.add_all([checkpoint, version])
        db.flush()
        found = Ids(run=run.id, checkpoint=checkpoint.id, version=version.id)
    shutil.copytree(trained, folder.run(found.run) / "checkpoints" / "step-0000002")
    folder.manifest(found.version).parent.mkdir(parents=True)
    save_manifest(folder.manifest(found.version), manifest)
    return found
