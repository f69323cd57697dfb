"""Datasets, demo recordings, imports, and the versions that trainings use."""

import os
import shutil
from typing import Any

from fastapi.responses import FileResponse
from sqlalchemy import delete, event, select
from sqlalchemy.orm import Session

from backend.access import Actor
from backend.annotations import repository as labels
from backend.annotations.models import Draft, LabelRevision
from backend.annotations.proposals import label_source
from backend.annotations.schemas import SegmentOut
from backend.audit.service import record
from backend.context import Studio
from backend.datasets import repository
from backend.datasets.models import Dataset, DatasetVersion
from backend.datasets.repository import Counts
from backend.datasets.roots import Candidate, candidates
from backend.datasets.schemas import (
    DatasetIn,
    DatasetOut,
    DatasetPatch,
    DemoIn,
    ImportCandidate,
    ImportIn,
    VersionIn,
    VersionOut,
)
from backend.db import new_id
from backend.episodes import repository as episodes
from backend.episodes.limits import MAX_TEXT, one_line, wrong_with
from backend.episodes.models import EpisodeRow
from backend.errors import ConflictError, InvalidError, NotFoundError
from backend.events import publish_after_commit
from backend.jobs import service as jobs
from backend.jobs.models import Job, JobKind, JobState
from backend.jobs.payloads import ImportPayload, RecordPayload
from backend.jobs.schemas import JobOut
from backend.training.schemas import SourceOut
from dexvla.episodes.manifest import manifest_hash, save_manifest
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, DatasetManifest, EpisodeEntry, RecordSpec, Segment

# --- datasets -------------------------------------------------------------------------------------------------


def datasets(db: Session) -> list[DatasetOut]:
    counts, versions = repository.counts(db), repository.version_counts(db)
    return [_out(row, counts.get(row.id, Counts()), versions.get(row.id, 0)) for row in repository.all_datasets(db)]


def dataset(db: Session, dataset_id: str) -> DatasetOut:
    row = _dataset(db, dataset_id)
    counts = repository.counts(db, dataset_id).get(dataset_id, Counts())
    return _out(row, counts, repository.version_counts(db).get(dataset_id, 0))


def create_dataset(db: Session, me: Actor, body: DatasetIn) -> DatasetOut:
    _free_name(db, body.name)
    row = Dataset(name=body.name, description=body.description, created_by=me.id)
    db.add(row)
    db.flush()
    record(db, me, "dataset.create", row.id, name=row.name)
    return _out(row, Counts(), 0)


def change_dataset(db: Session, me: Actor, dataset_id: str, body: DatasetPatch) -> DatasetOut:
    row = _dataset(db, dataset_id)
    if body.name is not None and body.name != row.name:
        _free_name(db, body.name, but=row.id)
        row.name = body.name
    if body.description is not None:
        row.description = body.description
    if body.vocabulary is not None:
        row.vocabulary = _vocabulary(body.vocabulary)
    db.flush()
    record(db, me, "dataset.change", row.id, **body.model_dump(exclude_none=True))
    return dataset(db, dataset_id)


def delete_dataset(db: Session, me: Actor, studio: Studio, dataset_id: str) -> None:
    row = _dataset(db, dataset_id)
    versions = repository.versions(db, dataset_id)
    runs = repository.runs_by_version(db)
    used = [version.number for version in versions if runs.get(version.id)]
    if used:
        raise ConflictError(
            f"Version {', '.join(map(str, sorted(used)))} of this dataset is what a run was trained on; delete those "
            "runs first, or keep the dataset so that their lineage stays."
        )
    busy = db.scalar(
        select(Job.id).where(Job.subject_id == dataset_id, Job.state.not_in([s for s in JobState if s.over])).limit(1)
    )
    if busy is not None:
        raise ConflictError("A recording or an import into this dataset is still running; cancel it first.")
    ids = [found.id for found in db.execute(select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id))]
    for table in (Draft, LabelRevision):
        db.execute(delete(table).where(table.episode_id.in_(ids)))
    db.execute(delete(EpisodeRow).where(EpisodeRow.dataset_id == dataset_id))
    db.execute(delete(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id))
    record(db, me, "dataset.delete", row.id, name=row.name, episodes=len(ids))
    db.delete(row)
    folder = studio.settings.folder
    gone = [folder.episodes / dataset_id, *(folder.manifest(version.id).parent for version in versions)]

    def remove(session: Session) -> None:
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)

    event.listen(db, "after_commit", remove, once=True)
    publish_after_commit(db, studio, "dataset", dataset_id)


def _dataset(db: Session, dataset_id: str) -> Dataset:
    row = repository.by_id(db, dataset_id)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return row


def _free_name(db: Session, name: str, *, but: str | None = None) -> None:
    taken = repository.by_name(db, name)
    if taken is not None and taken.id != but:
        raise ConflictError(f"There is a dataset named {taken.name!r} already; choose another name.")


def _vocabulary(texts: list[str]) -> list[str]:
    """Cleaned, without repetitions. Raises InvalidError for what may not stand in a label."""
    kept: list[str] = []
    for number, text in enumerate(one_line(text) for text in texts):
        wrong = wrong_with(text)
        if not text or len(text) > MAX_TEXT or wrong:
            why = f"holds {wrong}" if wrong else f"has {len(text)} characters, 1 to {MAX_TEXT} are allowed"
            raise InvalidError(f"Entry {number + 1} of the vocabulary {why}.", fields={f"vocabulary.{number}": why})
        if text not in kept:
            kept.append(text)
    return kept


def _out(row: Dataset, counts: Counts, versions: int) -> DatasetOut:
    return DatasetOut(
        id=row.id,
        name=row.name,
        description=row.description,
        created_at=row.created_at,
        action_dim=row.action_dim,
        state_dim=row.state_dim,
        fps=row.fps,
        cameras=row.cameras,
        vocabulary=row.vocabulary,
        episodes=counts.episodes,
        steps=counts.steps,
        labelled=counts.labelled,
        drafts=counts.drafts,
        versions=versions,
        size_bytes=counts.size_bytes,
        cover_episode_id=counts.cover,
    )


# --- recordings and imports -----------------------------------------------------------------------------------


def record_demo(db: Session, me: Actor, studio: Studio, body: DemoIn) -> JobOut:
    """Into a new dataset, whose name gets a number if it is taken, or into the one that is named by id."""
    if body.dataset_id is not None:
        row = _dataset(db, body.dataset_id)
    else:
        row = Dataset(name=_next_name(db, body.name), description=_demo_text(body), created_by=me.id)
        db.add(row)
        db.flush()
        record(db, me, "dataset.create", row.id, name=row.name)
    cameras = tuple(CameraSpec(name=name, height=body.height, width=body.width) for name in ALOHA_CAMERAS)
    spec = RecordSpec(task=body.task, episodes=body.episodes, seed=body.seed, cameras=cameras)
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.RECORD,
        title=f"Record {body.episodes} demonstrations: {row.name}",
        payload=RecordPayload(dataset_id=row.id, spec=spec, labelled=body.labelled),
        subject_id=row.id,
        total=body.episodes,
    )
    publish_after_commit(db, studio, "dataset", row.id)
    return jobs.job_out(db, job)


def _next_name(db: Session, wanted: str) -> str:
    name, number = wanted, 2
    while repository.by_name(db, name) is not None:
        name, number = f"{wanted} {number}", number + 1
    return name


def _demo_text(body: DemoIn) -> str:
    return f"Scripted demonstrations of {body.task.value} in the simulated ALOHA, seeds from {body.seed}."


def import_candidates(studio: Studio) -> list[ImportCandidate]:
    return [_candidate_out(candidate) for candidate in candidates(studio.settings.import_roots)]


def _candidate_out(found: Candidate) -> ImportCandidate:
    folder = found.path.relative_to(found.root.resolve())
    return ImportCandidate(
        id=found.id, root=str(found.root), folder=str(folder), files=len(found.files), size_bytes=found.size_bytes
    )


def import_folder(db: Session, me: Actor, studio: Studio, dataset_id: str, body: ImportIn) -> JobOut:
    row = _dataset(db, dataset_id)
    found = next((one for one in candidates(studio.settings.import_roots) if one.id == body.candidate_id), None)
    if found is None:
        raise NotFoundError("That folder is not there any more, or holds no .hdf5 files; look at the list again.")
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.IMPORT,
        title=f"Import {len(found.files)} files from {found.path.name}: {row.name}",
        payload=ImportPayload(dataset_id=row.id, folder=str(found.path)),
        subject_id=row.id,
        total=len(found.files),
    )
    return jobs.job_out(db, job)


# --- versions -------------------------------------------------------------------------------------------------


def versions(db: Session, dataset_id: str | None) -> list[VersionOut]:
    if dataset_id is not None:
        _dataset(db, dataset_id)
    return _versions_out(db, list(repository.versions(db, dataset_id)))


def _versions_out(db: Session, rows: list[DatasetVersion]) -> list[VersionOut]:
    names = repository.names(db, [row.dataset_id for row in rows])
    people = repository.user_names(db, [row.created_by for row in rows])
    runs = repository.runs_by_version(db)
    own = {name for name in VersionOut.model_fields if name not in {"dataset_name", "created_by_name", "runs"}}
    return [
        VersionOut(
            **{name: getattr(row, name) for name in own},
            dataset_name=names[row.dataset_id],
            created_by_name=people.get(row.created_by or ""),
            runs=runs.get(row.id, 0),
        )
        for row in rows
    ]


def create_version(db: Session, me: Actor, studio: Studio, dataset_id: str, body: VersionIn) -> tuple[VersionOut, bool]:
    """(version, whether it is new): the same episodes and labels as a version that is there give that one."""
    row = db.get(Dataset, dataset_id, with_for_update=True)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    published = labels.last_revisions(db, dataset_id)
    chosen = _chosen(db, row, body, published)
    version_id = new_id()
    manifest = _manifest(studio, row, chosen, published, version_id)
    digest = manifest_hash(manifest)
    for version in repository.versions(db, dataset_id):
        if version.manifest_sha256 == digest:
            return _versions_out(db, [version])[0], False
    numbers = [version.number for version in repository.versions(db, dataset_id)]
    version = DatasetVersion(
        id=version_id,
        dataset_id=dataset_id,
        number=max(numbers, default=0) + 1,
        manifest_sha256=digest,
        episodes=len(chosen),
        steps=sum(entry.steps for entry in manifest.episodes),
        labelled_steps=sum(
            segment.end - segment.start for entry in manifest.episodes for segment in entry.substeps if segment.text
        ),
        cameras=list(manifest.cameras),
        action_dim=manifest.action_dim,
        state_dim=manifest.state_dim,
        note=body.note,
        created_by=me.id,
        episode_ids=[episode.id for episode in chosen],
    )
    path = studio.settings.folder.manifest(version_id)
    path.parent.mkdir(parents=True)
    event.listen(db, "after_rollback", lambda session: shutil.rmtree(path.parent, ignore_errors=True), once=True)
    save_manifest(path, manifest)
    db.add(version)
    db.flush()
    record(db, me, "dataset.version", version.id, dataset=dataset_id, number=version.number, sha256=digest)
    publish_after_commit(db, studio, "dataset", dataset_id)
    return _versions_out(db, [version])[0], True


def _chosen(db: Session, row: Dataset, body: VersionIn, published: dict[str, LabelRevision]) -> list[EpisodeRow]:
    present = {episode.id: episode for episode in episodes.of_dataset(db, row.id)}
    if not present:
        raise InvalidError("The dataset has no episodes yet; record, upload or import some first.")
    if body.episode_ids is not None:
        missing = [wanted for wanted in body.episode_ids if wanted not in present]
        if missing:
            raise InvalidError(f"{len(missing)} of the chosen episodes are not in this dataset (any more).")
        wanted = set(body.episode_ids)
        chosen = [episode for episode in present.values() if episode.id in wanted]
    else:
        chosen = list(present.values())
    if not body.include_unlabelled:
        unlabelled = [episode for episode in chosen if episode.id not in published]
        if body.episode_ids is not None and unlabelled:
            raise InvalidError(
                f"{len(unlabelled)} of the chosen episodes have no published labels; publish them, or include "
                "unlabelled episodes."
            )
        chosen = [episode for episode in chosen if episode.id in published]
    if not chosen:
        raise InvalidError(
            f"None of the {len(present)} episodes has published labels. Label and publish at least one, or include "
            "unlabelled episodes (they train with an empty reasoning)."
        )
    return chosen


def _manifest(
    studio: Studio, row: Dataset, chosen: list[EpisodeRow], published: dict[str, LabelRevision], version_id: str
) -> DatasetManifest:
    folder = studio.settings.folder
    here = folder.manifest(version_id).parent
    entries = []
    for episode in chosen:
        path = folder.episode(row.id, episode.id)
        if not path.is_file():
            raise InvalidError(f"The file of episode {episode.number} is gone; restore it, or delete the episode.")
        revision = published.get(episode.id)
        entries.append(
            EpisodeEntry(
                path=os.path.relpath(path, here),
                identity=episode.identity,
                steps=episode.steps,
                cameras=tuple(CameraSpec.model_validate(camera) for camera in episode.cameras),
                sim=episode.sim,
                fps=episode.fps,
                robot=episode.robot,
                success=episode.success,
                task=episode.task,
                seed=episode.seed,
                render_profile=episode.render_profile,
                instruction=episode.instruction if revision is None else revision.instruction,
                substeps=() if revision is None else _segments(revision.segments),
                label_source=None if revision is None else _label_source(revision.segments),
            )
        )
    first = chosen[0]
    return DatasetManifest(
        name=row.name,
        cameras=tuple(camera["name"] for camera in first.cameras),
        action_dim=first.action_dim,
        state_dim=first.state_dim,
        episodes=tuple(entries),
    )


def _segments(stored: list[Any]) -> tuple[Segment, ...]:
    return tuple(Segment(start=one["start"], end=one["end"], text=one["text"]) for one in stored)


def _label_source(stored: list[Any]) -> str:
    return label_source([SegmentOut.model_validate(one) for one in stored]).value


def manifest_file(db: Session, studio: Studio, version_id: str) -> FileResponse:
    version = db.get(DatasetVersion, version_id)
    path = studio.settings.folder.manifest(version_id) if version is not None else None
    if version is None or path is None or not path.is_file():
        raise NotFoundError("There is no such dataset version.")
    return FileResponse(path, media_type="application/json", filename=f"version-{version.number}.json")


def sources_out(db: Session, sources: list[dict[str, Any]]) -> list[SourceOut]:
    """What a run trains on, for people: [{"version_id", "weight"}] with names."""
    found = repository.versions_by_id(db, [source["version_id"] for source in sources])
    names = repository.names(db, [version.dataset_id for version in found.values()])
    return [
        SourceOut(
            version_id=version.id,
            dataset_id=version.dataset_id,
            dataset_name=names[version.dataset_id],
            number=version.number,
            manifest_sha256=version.manifest_sha256,
            weight=source["weight"],
        )
        for source in sources
        if (version := found.get(source["version_id"])) is not None
    ]
