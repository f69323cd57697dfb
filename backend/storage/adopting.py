"""Rows again for what has none but carries all that a row says: dataset versions by their manifest, runs by what their
trainer wrote, checkpoints of runs."""

import os
from collections import Counter
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.base_models import repository as models
from backend.base_models.service import facts
from backend.checkpoints import saved
from backend.checkpoints.names import archive_name
from backend.core.db import utc_now
from backend.core.folders import DataFolder
from backend.datasets import repository as datasets
from backend.identity.actor import Actor
from backend.labels.core.brought import brought
from backend.labels.core.start import proposed
from backend.labels.drafts import repository as labels
from backend.labels.drafts.service import blank
from backend.storage.repository import checkpoint_folders
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from backend.training.jobs import TrainPayload
from backend.training.tail import MetricsTail
from backend.versions.service import version_row
from dexvla.checksums import file_sha256
from dexvla.episodes.manifest import load_manifest, manifest_hash, save_manifest
from dexvla.errors import UserError
from dexvla.spec import DatasetManifest, EpisodeEntry, TrainSpec, first_error, step_of

NOTE = "Found without a row and adopted."
_LOG_BYTES = 2**20


class NotAdoptedError(Exception):
    """Why it stays without a row, in words."""


def adopt_version(studio: Studio, folder: Path, me: Actor | None) -> None:
    """Its manifest holds episodes and labels; the episodes must be here, all in one dataset. Raises NotAdoptedError."""
    path = folder / "manifest.json"
    try:
        manifest = load_manifest(path)
    except UserError as error:
        raise NotAdoptedError(str(error)) from error
    with studio.db.transaction() as db:
        dataset_id, rows = _episodes(db, manifest)
        digest = manifest_hash(manifest)
        for version in datasets.versions(db, dataset_id):
            if version.manifest_sha256 == digest:
                raise NotAdoptedError(f"it is version {version.number} of its dataset once more")
        moved = _with_paths(studio.settings.folder, folder, manifest, rows)
        if moved != manifest:
            save_manifest(path, moved)
        version = version_row(db, me, folder.name, dataset_id, manifest, rows, note=NOTE)
        db.add(version)
        for row, entry in zip(rows, manifest.episodes, strict=True):
            _propose(db, row, entry)
        record(db, me, "dataset.version", version.id, dataset=dataset_id, number=version.number, adopted=True)
        publish_after_commit(db, studio, "dataset", dataset_id)


def _episodes(db: Session, manifest: DatasetManifest) -> tuple[str, list[EpisodeRow]]:
    """The dataset that has them all, and their rows in the manifest's order. Raises NotAdoptedError."""
    names = {name for entry in manifest.episodes for name in _names(entry)}
    query = select(EpisodeRow).where(
        or_(EpisodeRow.identity.in_(names), EpisodeRow.former_identity.in_(names)), EpisodeRow.deleted_at.is_(None)
    )
    known: dict[tuple[str, str], EpisodeRow] = {}
    for row in db.scalars(query.order_by(EpisodeRow.number)):
        for name in filter(None, (row.former_identity, row.identity)):
            known[row.dataset_id, name] = row
    datasets = {dataset_id for dataset_id, _ in known}
    found: dict[str, list[EpisodeRow]] = {}
    for dataset_id in sorted(datasets):
        rows = [
            next((known[dataset_id, name] for name in _names(entry) if (dataset_id, name) in known), None)
            for entry in manifest.episodes
        ]
        found[dataset_id] = [row for row in rows if row is not None]
    listed = Counter(Path(entry.path).parent.name for entry in manifest.episodes)  # of the dataset that it was made in
    best = max(found, key=lambda one: (len(found[one]), listed[one]), default=None)
    if best is None or len(found[best]) < len(manifest.episodes):
        here = 0 if best is None else len(found[best])
        raise NotAdoptedError(f"{len(manifest.episodes) - here} of its {len(manifest.episodes)} episodes are not here")
    return best, found[best]


def _names(entry: EpisodeEntry) -> tuple[str, ...]:
    return (entry.identity, *entry.aliases)


def _with_paths(data: DataFolder, folder: Path, manifest: DatasetManifest, rows: list[EpisodeRow]) -> DatasetManifest:
    """Where the files lie now; no hash covers that."""
    entries = [
        entry.model_copy(update={"path": os.path.relpath(data.episode(row.dataset_id, row.id), folder)})
        for entry, row in zip(manifest.episodes, rows, strict=True)
    ]
    return manifest.model_copy(update={"episodes": tuple(entries)})


def _propose(db: Session, row: EpisodeRow, entry: EpisodeEntry) -> None:
    """Labels that were published and lost with their rows: the manifest still has them. They become the draft, for
    somebody to look at, where nobody has labelled the episode since."""
    draft = db.get(Draft, (row.id, Tier.SUBSTEP, 0))
    if not entry.substeps or (draft is not None and draft.edit) or labels.last_revision(db, row.id) is not None:
        return
    if draft is None:
        draft = blank(row, Tier.SUBSTEP, 0)
        db.add(draft)
    parts = [(one.start, one.end, one.text) for one in entry.substeps]
    segments = proposed(parts, entry.label_source)
    if segments != draft.segments:  # the file brought others, or none
        draft.segments = segments
        db.add(brought(row.id, parts, entry.label_source))
    draft.paraphrases = list(entry.paraphrases)
    draft.instruction = row.instruction = entry.instruction
    draft.success = row.success = entry.success


def adopt_run(studio: Studio, folder: Path, me: Actor | None) -> None:
    """With the job that it was, its curves and its checkpoints; lineage as far as what it names is here. What is lost
    with its row: its name for people, who started it, and what the form said. Raises NotAdoptedError."""
    spec = _spec(folder)
    found = {step: _whole(path, spec.name, step) for step, path in checkpoint_folders(folder).items()}
    if not found:
        raise NotAdoptedError("it has saved no checkpoint")
    last = max(found)
    with studio.db.transaction() as db:
        job = Job(
            kind=JobKind.TRAIN,
            title=f"Train {spec.name} (stage {spec.stage})",
            subject_id=folder.name,
            payload=TrainPayload(run_id=folder.name).model_dump(mode="json"),
            state=JobState.DONE if last >= spec.steps else JobState.CANCELLED,
            cause=NOTE,
            attempt=1,
            done=last,
            best=last,
            total=spec.steps,
            finished_at=utc_now(),
            created_by=None if me is None else me.id,
        )
        if (before := _job_folder(db, studio.settings.folder, folder.name)) is not None:
            job.id = before
        db.add(job)
        db.flush()
        model = models.by_path(db, spec.init_from) if spec.init_from else None
        expert = models.by_path(db, spec.pretrained_expert) if spec.pretrained_expert else None
        known = {"base_model": model, "expert": expert}
        run = Run(
            id=folder.name,
            name=spec.name[:64],
            stage=spec.stage,
            preset=None,
            spec=spec.model_dump(mode="json"),
            sources=_sources(db, spec),
            base_model_id=None if model is None else model.id,
            expert_id=None if expert is None else expert.id,
            parent_id=_parent(db, spec.init_from),
            origin={name: facts(row) for name, row in known.items() if row is not None},
            request={},
            job_id=job.id,
            created_by=None if me is None else me.id,
        )
        db.add(run)
        db.flush()
        MetricsTail(folder / "metrics.jsonl", run.id).store(db, job.attempt)
        for step, one in found.items():
            db.add(saved.new_row(run.id, step, job.attempt, one))
        record(db, me, "run.adopt", run.id, name=run.name, checkpoints=len(found))
        publish_after_commit(db, studio, "run", run.id)


def adopt_checkpoint(studio: Studio, folder: Path, me: Actor | None) -> None:
    """Of a run that is here. Raises NotAdoptedError."""
    run_id, step = folder.parents[1].name, step_of(folder.name)
    assert step is not None, f"{folder} is no checkpoint's"
    with studio.db.transaction(write=False) as db:
        name = str(db.get_one(Run, run_id).spec.get("name", run_id))
    found = _whole(folder, name, step)
    with studio.db.transaction() as db:
        run = db.get_one(Run, run_id)
        row = saved.new_row(run_id, step, db.get_one(Job, run.job_id).attempt, found)
        db.add(row)
        db.flush()
        record(db, me, "checkpoint.adopt", row.id, run=run_id, step=step)
        publish_after_commit(db, studio, "checkpoint", row.id)
        publish_after_commit(db, studio, "run", run_id)


def _spec(folder: Path) -> TrainSpec:
    try:
        spec = TrainSpec.model_validate_json((folder / "run.json").read_bytes())
    except OSError as error:
        raise NotAdoptedError(f"run.json cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise NotAdoptedError(f"run.json is none of a training: {first_error(error)}") from error
    if spec.stage not in {2, 3}:
        raise NotAdoptedError(f"it is of stage {spec.stage}; the studio lists stages 2 and 3")
    return spec


def _whole(folder: Path, name: str, step: int) -> saved.Found:
    """Read twice: what a row says of a checkpoint has to be true. Raises NotAdoptedError."""
    try:
        found = saved.read(folder, archive_name(name, step))
        wrong = [one["name"] for one in found.files if file_sha256(folder / one["name"]) != one["sha256"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAdoptedError(f"the checkpoint of step {step} is not whole ({error})") from error
    if wrong:
        raise NotAdoptedError(f"the checkpoint of step {step} is damaged: {wrong[0]} is not what was saved")
    return found


def _job_folder(db: Session, data: DataFolder, run_id: str) -> str | None:
    """Id of the folder without a row in which the training's log lies, where that names the run."""
    for log in data.jobs.glob("*/log.txt"):
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            named = f"/{run_id}/".encode() in file.read()
        if named and db.get(Job, log.parent.name) is None:
            return log.parent.name
    return None


def _sources(db: Session, spec: TrainSpec) -> list[dict[str, object]]:
    """The versions that it was trained on, where they are here."""
    named = [(Path(source.path).parent.name, source.weight) for source in spec.data]
    return [{"version_id": one, "weight": weight} for one, weight in named if db.get(DatasetVersion, one) is not None]


def _parent(db: Session, init_from: str | None) -> str | None:
    """The checkpoint of a run here that it started from."""
    if init_from is None:
        return None
    place = Path(init_from)
    step = step_of(place.name)
    if place.parent.name != "checkpoints" or step is None:
        return None
    query = select(Checkpoint.id).where(Checkpoint.run_id == place.parents[1].name, Checkpoint.step == step)
    return db.scalar(query.order_by(Checkpoint.attempt.desc()).limit(1))
