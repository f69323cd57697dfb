"""Exports: chosen episodes with their labels, made by a job in a format that other tools read, kept for some days."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from backend.audit.service import record
from backend.core.db import database_now, new_id, utc_now
from backend.core.downloads import Content, respond
from backend.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from backend.datasets import repository as datasets
from backend.exports import repository
from backend.exports.chosen import choose, people
from backend.exports.files import destinations, files_of, parts_of
from backend.exports.formats import formats
from backend.exports.jobs import MANIFEST, ExportPayload
from backend.exports.schemas import (
    DestinationIn,
    DestinationKind,
    DestinationOut,
    ExportChoice,
    ExportIn,
    ExportOut,
    PersonOut,
    PreviewOut,
)
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.labels.drafts.repository import blind_for
from backend.store.small import publish
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.export import Export
from backend.tables.job import Job, JobKind, JobState
from dexvla.episodes.manifest import save_manifest

_NAME_LENGTH = 100  # bytes of a dataset's name in a file's: file systems count those


def preview(db: Session, studio: Studio, dataset_id: str, choice: ExportChoice) -> PreviewOut:
    found = choose(db, studio, dataset_id, choice)
    seconds = [None if row.fps is None else row.steps / row.fps for row in found.rows]
    known = [one for one in seconds if one is not None]
    return PreviewOut(
        episodes=len(found.rows),
        labelled=len(found.labelled),
        steps=sum(row.steps for row in found.rows),
        seconds=sum(known) if len(known) == len(seconds) else None,
        size_bytes=sum(row.size_bytes for row in found.rows),
        people=[PersonOut(id=key, name=name) for key, name in people([*found.published.values()]).items()],
        tags=sorted({tag for row in found.all_rows for tag in row.tags}),
    )


def create(db: Session, me: Actor, studio: Studio, dataset_id: str, body: ExportIn) -> ExportOut:
    """Queue it. Which episodes and labels it holds is settled now, whatever happens before the job begins.

    Raises NotFoundError, InvalidError for a format or destination that there is not or a choice that leaves no episode,
    and ForbiddenError for labels that blind labelling hides from this person.
    """
    known = {one.name: one for one in formats()}
    if body.format not in known:
        raise InvalidError(
            f"There is no format {body.format!r}; it is one of {', '.join(known)}.",
            fields={"format": f"one of {', '.join(known)}"},
        )
    _refuse_destination(studio, body.destination)
    found = choose(db, studio, dataset_id, body.choice)
    if not found.rows:
        raise InvalidError(f"The choice leaves none of the {len(found.all_rows)} episodes; widen it.")
    ids = [row.id for row in found.rows]
    _refuse_blind(db, me, dataset_id, ids)
    export = Export(
        id=new_id(),
        dataset_id=dataset_id,
        name=_name(found.dataset.name, None if found.version is None else found.version.number, body.format),
        format=body.format,
        choice=body.choice.model_dump(mode="json"),
        destination=body.destination.model_dump(mode="json"),
        episode_ids=ids,
        steps=sum(row.steps for row in found.rows),
        created_by=me.id,
        created_by_name=me.name,
    )
    what = f"{len(ids)} {'episode' if len(ids) == 1 else 'episodes'}"
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.EXPORT,
        title=f"Export {what} as {known[body.format].title}: {found.dataset.name}",
        payload=ExportPayload(export_id=export.id, format=body.format),
        subject_id=dataset_id,
        total=len(ids),
    )
    export.job_id = job.id
    here = studio.settings.folder.job(job.id)
    here.mkdir(parents=True)
    event.listen(db, "after_rollback", lambda session: shutil.rmtree(here, ignore_errors=True), once=True)
    save_manifest(here / MANIFEST, found.manifest(db, studio, here=here))
    publish(studio.store, studio.settings.data, here / MANIFEST)
    db.add(export)
    db.flush()
    record(db, me, "dataset.export", export.id, dataset=dataset_id, format=body.format, episodes=len(ids))
    publish_after_commit(db, studio, "dataset", dataset_id)
    return _outs(db, studio, [export])[0]


def _refuse_destination(studio: Studio, wanted: DestinationIn) -> None:
    known = destinations(studio.settings)
    if (wanted.kind, wanted.name) not in {(one.kind, one.name) for one in known}:
        names = ", ".join(one.name for one in known if one.kind is wanted.kind and one.name) or "none"
        settings = {DestinationKind.FOLDER: "STUDIO_EXPORT_ROOTS", DestinationKind.S3: "STUDIO_EXPORT_TARGETS"}
        raise InvalidError(
            f"There is no {wanted.kind.value} {wanted.name!r} for exports; known: {names}. The administrator of the "
            f"machine configures them ({settings.get(wanted.kind, 'an archive has no name')}).",
            fields={"destination": f"known: {names}"},
        )


def exports(db: Session, studio: Studio, dataset_id: str) -> list[ExportOut]:
    """Newest first."""
    if datasets.by_id(db, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return _outs(db, studio, repository.of_dataset(db, dataset_id))


def archive(db: Session, me: Actor, studio: Studio, request: Request, dataset_id: str, export_id: str) -> Response:
    """Raises NotFoundError, ConflictError while it is not made, ForbiddenError as `create`."""
    row = _found(db, dataset_id, export_id)
    _refuse_blind(db, me, dataset_id, row.episode_ids)
    if row.finished_at is None:
        raise ConflictError("This export is not made yet; wait for its job.", detail={"job_id": row.job_id})
    where = DestinationOut.model_validate(row.destination)
    if where.kind is not DestinationKind.ARCHIVE:
        raise NotFoundError(f"This export has no archive: it was written to {where.name}, as {where.landed}.")
    parts = parts_of(studio, row)
    if files_of(parts) != (row.files, row.file_bytes):
        raise NotFoundError("The files of this export are gone or were changed; delete it and export again.")
    content = Content(
        name=f"{row.name}.tar",
        parts=parts,
        tag=row.sha256 or "",
        sha256=row.sha256,
        media_type="application/x-tar",
    )
    return respond(request, content, studio.settings)


def delete(db: Session, me: Actor, studio: Studio, dataset_id: str, export_id: str) -> None:
    """Raises NotFoundError, and ConflictError while its job is not over."""
    row = _found(db, dataset_id, export_id)
    job = db.get_one(Job, row.job_id)
    if not JobState(job.state).over:
        raise ConflictError("This export is still being made; cancel its job first.", detail={"job_id": job.id})
    row.deleted_at = utc_now()
    row.deleted_why = f"deleted by {me.name}"[:64]
    record(db, me, "export.delete", row.id, dataset=dataset_id, name=row.name)
    publish_after_commit(db, studio, "dataset", dataset_id)
    remove_files_after_commit(db, studio, row.name, _files(studio, row))


def forget_old(studio: Studio) -> int:
    """Delete those that were made longer ago than exports are kept; returns how many. Raises SQLAlchemyError, and
    FilesLeftError for files that could not be removed."""
    days = studio.settings.export_days
    with studio.db.transaction() as db:
        rows = repository.ended_before(db, database_now(db) - timedelta(days=days))
        for row in rows:
            row.deleted_at, row.deleted_why = utc_now(), f"kept for {days:g} days"
            record(db, None, "export.delete", row.id, dataset=row.dataset_id, name=row.name)
            publish_after_commit(db, studio, "dataset", row.dataset_id)
        remove_files_after_commit(db, studio, "An old export", [path for row in rows for path in _files(studio, row)])
    return len(rows)


def _files(studio: Studio, row: Export) -> list[Path]:
    """What it wrote, and the links to episodes of a job that was ended before it could take them away."""
    folder = studio.settings.folder
    return [folder.export(row.id), folder.export_links(row.job_id)]


def _found(db: Session, dataset_id: str, export_id: str) -> Export:
    row = repository.by_id(db, dataset_id, export_id)
    if row is None:
        raise NotFoundError("There is no such export; it may have been deleted, or its days were over.")
    return row


def _refuse_blind(db: Session, me: Actor, dataset_id: str, ids: Sequence[str]) -> None:
    hidden = {episode_id for episode_id, _ in blind_for(db, dataset_id, me.id)}
    if count := len(hidden.intersection(ids)):
        raise ForbiddenError(
            f"You label {count} of these episodes as their second rater: an export holds the first rater's labels and "
            "is for you once yours are submitted."
        )


def _name(dataset: str, version: int | None, format_name: str) -> str:
    """Of the archive, without its ending, and of the folder in it."""
    plain = "-".join("".join(letter if letter.isalnum() else " " for letter in dataset).split())
    plain = plain.encode()[:_NAME_LENGTH].decode(errors="ignore").strip("-")
    parts = [plain or "episodes", *([] if version is None else [f"v{version}"]), format_name]
    return "-".join(parts)


def _outs(db: Session, studio: Studio, rows: Sequence[Export]) -> list[ExportOut]:
    titles = {one.name: one.title for one in formats()}
    of_jobs = jobs.jobs_out(db, {row.job_id for row in rows})
    choices = {row.id: ExportChoice.model_validate(row.choice) for row in rows}
    versions = datasets.versions_by_id(db, [one.version_id for one in choices.values() if one.version_id is not None])
    outs = []
    for row in rows:
        choice = choices[row.id]
        version = None if choice.version_id is None else versions.get(choice.version_id)
        kept = timedelta(days=studio.settings.export_days)
        outs.append(
            ExportOut(
                **{name: getattr(row, name) for name in _OWN},
                title=titles.get(row.format, row.format),
                choice=choice,
                destination=DestinationOut.model_validate(row.destination),
                version_number=None if version is None else version.number,
                episodes=len(row.episode_ids),
                expires_at=None if row.finished_at is None else row.finished_at + kept,
                job=of_jobs.get(row.job_id),
            )
        )
    return outs


_OWN = (
    "id",
    "dataset_id",
    "name",
    "format",
    "steps",
    "created_at",
    "created_by_name",
    "finished_at",
    "files",
    "size_bytes",
    "sha256",
    "warnings",
)
