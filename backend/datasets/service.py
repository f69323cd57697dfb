"""Datasets, demo recordings, imports, and the versions that trainings use."""

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.core.limits import MAX_TEXT, one_line, wrong_with
from backend.core.paging import CursorPage
from backend.core.schemas import without_marks
from backend.datasets import repository
from backend.datasets.jobs import RecordPayload
from backend.datasets.repository import Counts
from backend.datasets.schemas import (
    DatasetIn,
    DatasetOut,
    DatasetPatch,
    DatasetsIn,
    DemoIn,
)
from backend.episodes import repository as episodes
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.robots.kinds import checked, demonstration_cameras, info_of, name_of
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.bulk_change import BulkChange
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EpisodeEdit
from backend.tables.export import Export
from backend.tables.job import Job, JobKind, JobState
from backend.tables.label_history import LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.review_note import ReviewNote
from backend.tables.upload import Upload, UploadedFile
from dexvla.spec import CameraSpec, RecordSpec

_NAME_LENGTH = 128


# --- datasets -------------------------------------------------------------------------------------------------


def datasets(db: Session) -> list[DatasetOut]:
    counts, versions = repository.counts(db), repository.version_counts(db)
    return [_out(row, counts.get(row.id, Counts()), versions.get(row.id, 0)) for row in repository.all_datasets(db)]


def page(db: Session, asked: DatasetsIn) -> CursorPage[DatasetOut]:
    rows, cursor, total = repository.page(db, asked)
    counts, versions = repository.counts(db, among=[row.id for row in rows]), repository.version_counts(db)
    items = [_out(row, counts.get(row.id, Counts()), versions.get(row.id, 0)) for row in rows]
    return CursorPage(items=items, next=cursor, total=total)


def dataset(db: Session, dataset_id: str) -> DatasetOut:
    row = _dataset(db, dataset_id)
    counts = repository.counts(db, dataset_id).get(dataset_id, Counts())
    return _out(row, counts, repository.version_counts(db).get(dataset_id, 0))


def create_dataset(db: Session, me: Actor, body: DatasetIn) -> DatasetOut:
    _free_name(db, body.name)
    row = _add(db, me, body.name, body.description)
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
        row.vocabulary_edit += 1
    _flush(db)
    record(db, me, "dataset.change", row.id, **body.model_dump(exclude_none=True))
    return dataset(db, dataset_id)


def delete_dataset(db: Session, me: Actor, studio: Studio, dataset_id: str) -> None:
    row = _dataset(db, dataset_id, lock=True)
    versions = repository.versions(db, dataset_id)
    runs = repository.runs_by_version(db)
    replayed = repository.replayed_versions(db, [version.id for version in versions])
    used = [version.number for version in versions if runs.get(version.id) or version.id in replayed]
    if used:
        raise ConflictError(
            f"Version {', '.join(map(str, sorted(used)))} of this dataset is what a run was trained on or "
            "an evaluation replayed; delete those first, or keep the dataset so that their lineage stays."
        )
    busy = db.scalar(
        select(Job.id).where(Job.subject_id == dataset_id, Job.state.not_in([s for s in JobState if s.over])).limit(1)
    )
    if busy is not None:
        raise ConflictError(
            "A job of this dataset is not over yet (a recording, an import, a survey or an export); cancel it first."
        )
    ids = repository.lock_episodes(db, dataset_id)
    uploads = repository.lock_uploads(db, dataset_id)
    for table in (Draft, LabelRevision, LabelHistory, ReviewNote):
        db.execute(delete(table).where(table.episode_id.in_(ids)))
    db.execute(delete(EpisodeRow).where(EpisodeRow.dataset_id == dataset_id))
    db.execute(delete(BulkChange).where(BulkChange.dataset_id == dataset_id))
    db.execute(delete(EpisodeEdit).where(EpisodeEdit.dataset_id == dataset_id))
    exports = db.execute(select(Export.id, Export.job_id).where(Export.dataset_id == dataset_id)).all()
    db.execute(delete(Export).where(Export.dataset_id == dataset_id))
    db.execute(delete(UploadedFile).where(UploadedFile.upload_id.in_(uploads)))
    db.execute(delete(Upload).where(Upload.dataset_id == dataset_id))
    db.execute(delete(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id))
    record(db, me, "dataset.delete", row.id, name=row.name, episodes=len(ids))
    db.delete(row)
    folder = studio.settings.folder
    gone = [folder.episodes / dataset_id, *(folder.manifest(version.id).parent for version in versions)]
    gone += [path for id, job_id in exports for path in (folder.export(id), folder.export_links(job_id))]
    gone += [folder.staged(upload_id) for upload_id in uploads]
    publish_after_commit(db, studio, "dataset", dataset_id)
    remove_files_after_commit(db, studio, row.name, gone)


def _dataset(db: Session, dataset_id: str, *, lock: bool = False) -> Dataset:
    row = repository.by_id(db, dataset_id, lock=lock)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return row


def _free_name(db: Session, name: str, *, but: str | None = None) -> None:
    taken = repository.taken_names(db).get(name.casefold())
    if taken is not None and taken[0] != but:
        raise ConflictError(f"There is a dataset named {taken[1]!r} already; choose another name.")


def _add(db: Session, me: Actor, name: str, description: str) -> Dataset:
    row = Dataset(name=name, description=description, created_by=me.id)
    db.add(row)
    _flush(db)
    record(db, me, "dataset.create", row.id, name=row.name)
    return row


def _flush(db: Session) -> None:
    """Raises ConflictError if another request took the name in this moment."""
    try:
        db.flush()
    except IntegrityError as error:
        raise ConflictError("Somebody just made a dataset of that name; choose another one.") from error


def _vocabulary(texts: list[str]) -> list[str]:
    """Cleaned, without repetitions. Raises InvalidError for what may not stand in a label."""
    kept: list[str] = []
    for number, text in enumerate(texts):
        try:
            text = one_line(without_marks(text))
        except ValueError as error:
            why = str(error)
            raise InvalidError(
                f"Entry {number + 1} of the vocabulary cannot be taken: {why}.", fields={f"vocabulary.{number}": why}
            ) from error
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
    body = checked(body.robot, body, recovers=body.recovery is not None)
    if body.dataset_id is not None:
        row = _dataset(db, body.dataset_id)
    else:
        row = _add(db, me, _next_name(db, body.name), _demo_text(body))
    names = demonstration_cameras(body.robot, body.task)
    cameras = tuple(CameraSpec(name=name, height=body.height, width=body.width) for name in names)
    spec = RecordSpec(
        robot=body.robot,
        task=body.task,
        options=body.options,
        recovery=body.recovery,
        episodes=body.episodes,
        seed=body.seed,
        cameras=cameras,
    )
    if episodes.any_episode(db, row.id) is not None:
        _refuse_other_robot(row, spec)
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


def _refuse_other_robot(row: Dataset, spec: RecordSpec) -> None:
    """Now, rather than after every recorded episode was refused."""
    info = info_of(spec.robot, spec, spec.cameras)
    facts = [
        ("action dimensions", len(info.action_names), row.action_dim),
        ("state dimensions", len(info.joint_names), row.state_dim),
        ("the cameras", ", ".join(sorted(camera.name for camera in spec.cameras)), ", ".join(row.cameras)),
        ("the render profile", spec.render.value, row.render_profile),
    ]
    wrong = [f"{what} {found}, its episodes have {expected}" for what, found, expected in facts if found != expected]
    if wrong:
        raise InvalidError(
            f"{name_of(spec.robot)}'s episodes do not fit into {row.name!r}: they have {'; '.join(wrong)}. Record into "
            "a new dataset.",
            fields={"dataset_id": "its episodes are of another robot"},
        )


def _next_name(db: Session, base: str) -> str:
    taken, number, name = repository.taken_names(db), 2, base
    while name.casefold() in taken:
        name, number = f"{base[: _NAME_LENGTH - 6]} {number}", number + 1
    return name


def _demo_text(body: DemoIn) -> str:
    task = body.task
    words = [str(value) for value in body.options.values() if not isinstance(value, bool) and value is not None]
    if words:
        task += f" ({', '.join(words)})"
    robot = name_of(body.robot)[:1].lower() + name_of(body.robot)[1:]
    what = "Scripted demonstrations" + (" with recoveries" if body.recovery is not None else "")
    return f"{what} of {task} in {robot}, seeds from {body.seed}."


# --- what other rooms ask ------------------------------------------------------------------------------------------
