"""Checkpoints: what they are and came from, their files to download, deletion."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from backend.audit import service as audit
from backend.checkpoints import repository
from backend.checkpoints import repository as repository_
from backend.checkpoints.files import archive_parts, checkpoint_place, file_parts
from backend.checkpoints.names import archive_name, checkpoint_name
from backend.checkpoints.schemas import (
    Ancestor,
    CheckpointDetail,
    CheckpointOut,
    CheckpointPage,
    CheckpointsIn,
    FileOut,
)
from backend.checkpoints.whole import require_whole
from backend.core.db import utc_now
from backend.core.downloads import Content, respond
from backend.core.errors import ConflictError, NotFoundError
from backend.identity.actor import Actor
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation
from backend.tables.job import Job, JobState
from backend.tables.run import Run
from backend.versions.schemas import SourceOut
from backend.versions.sources import sources_of

_DELETED_BY = "deleted by {name}"
_MAX_ANCESTORS = 100


def checkpoints(db: Session, *, run_id: str | None, deleted: bool) -> list[CheckpointOut]:
    return _outs(db, repository.checkpoints(db, run_id=run_id, deleted=deleted))


def page(db: Session, asked: CheckpointsIn) -> CheckpointPage:
    rows, cursor, total = repository.page(db, asked)
    size = None if total is None else repository.size_bytes(db, asked)
    return CheckpointPage(items=_outs(db, rows), next=cursor, total=total, size_bytes=size)


def _outs(db: Session, rows: Sequence[tuple[Checkpoint, Run]]) -> list[CheckpointOut]:
    evaluated = repository.evaluations(db, [row.id for row, _ in rows])
    sources = sources_of(db, list({run.id: run for _, run in rows}.values()))
    return [CheckpointOut(**_facts(row, run, sources[run.id], evaluated.get(row.id, []))) for row, run in rows]


def checkpoint(db: Session, checkpoint_id: str) -> CheckpointDetail:
    row, run = _found(db, checkpoint_id)
    evaluated = repository.evaluations(db, [row.id]).get(row.id, [])
    return CheckpointDetail(
        **_facts(row, run, sources_of(db, [run])[run.id], evaluated),
        files=[FileOut.model_validate(file) for file in row.files],
        archive_name=f"{archive_name(run.name, row.step)}.tar",
        archive_size=int(row.info["archive_size"]),
        archive_sha256=row.archive_sha256,
        ancestors=_ancestors(db, run),
        info=row.info,
    )


def delete(db: Session, me: Actor, studio: Studio, checkpoint_id: str) -> None:
    row, run = _found(db, checkpoint_id)
    _there(row, run)
    name = checkpoint_name(run, row)
    job = db.get_one(Job, run.job_id)
    if not JobState(job.state).over:
        raise ConflictError(
            f"{run.name} is not over ({job.state}) and may go on from {name}; cancel it first, or wait.",
            detail={"job_id": job.id},
        )
    children = repository_.children(db, [row.id], running=True)
    if children:
        raise ConflictError(
            f"{children[0].name} starts from {name} and is not over; cancel it first, or wait.",
            detail={"run_ids": [one.id for one in children]},
        )
    if repository.evaluation_that_needs(db, [row.id]) is not None:
        raise ConflictError(f"An evaluation of {name} is not over; cancel it first, or wait.")
    row.deleted_at = utc_now()
    row.deleted_why = _DELETED_BY.format(name=me.name)[:64]
    audit.record(db, me, "checkpoint.delete", row.id, name=name, sha256=row.sha256)
    publish_after_commit(db, studio, "checkpoint", row.id)
    publish_after_commit(db, studio, "run", run.id)
    remove_files_after_commit(db, studio, name, [checkpoint_place(studio.settings.folder, row)])


def file(db: Session, studio: Studio, request: Request, checkpoint_id: str, name: str) -> Response:
    """One file. Names come from the row, never from the request."""
    row, run = _found(db, checkpoint_id)
    _there(row, run)
    entry = next((one for one in row.files if one["name"] == name), None)
    if entry is None:
        known = ", ".join(one["name"] for one in row.files)
        raise NotFoundError(f"{checkpoint_name(run, row)} has no file of this name; it has {known}.")
    require_whole(studio, row, run, [entry])
    part = file_parts(studio, row)[entry["name"]]
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    sha256 = entry["sha256"]
    content = Content(name=entry["name"], parts=(part,), tag=sha256, sha256=sha256, media_type=kind)
    return respond(request, content, studio.settings)


def archive(db: Session, studio: Studio, request: Request, checkpoint_id: str) -> Response:
    row, run = _found(db, checkpoint_id)
    _there(row, run)
    require_whole(studio, row, run, row.files)
    name = archive_name(run.name, row.step)
    content = Content(
        name=f"{name}.tar",
        parts=archive_parts(studio, row, name),
        tag=row.archive_sha256,
        sha256=row.archive_sha256,
        media_type="application/x-tar",
    )
    return respond(request, content, studio.settings)


def _found(db: Session, checkpoint_id: str) -> tuple[Checkpoint, Run]:
    found = repository.checkpoint(db, checkpoint_id)
    if found is None:
        raise NotFoundError(f"There is no checkpoint {checkpoint_id}.")
    return found


def _there(row: Checkpoint, run: Run) -> None:
    if row.deleted_at is not None:
        raise NotFoundError(f"The files of {checkpoint_name(run, row)} are gone: {row.deleted_why}.")


def _facts(row: Checkpoint, run: Run, sources: list[SourceOut], evaluated: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "id": row.id,
        "run_id": run.id,
        "run_name": run.name,
        "name": checkpoint_name(run, row),
        "stage": row.stage,
        "step": row.step,
        "robot": row.info.get("robot"),
        "attempt": row.attempt,
        "sha256": row.sha256,
        "size_bytes": row.size_bytes,
        "val_loss": row.val_loss,
        "created_at": row.created_at,
        "available": row.deleted_at is None,
        "deleted_why": row.deleted_why,
        "sources": sources,
        "evaluations": len(evaluated),
        "best_success_rate": repository.best_success_rate(evaluated),
    }


def _ancestors(db: Session, run: Run) -> list[Ancestor]:
    """Checkpoint by checkpoint back to the models that the first run started from, which may be forgotten by now."""
    chain: list[Ancestor] = []
    while len(chain) < _MAX_ANCESTORS:
        for what in ("base_model", "expert"):
            known = run.origin.get(what)
            if known is not None:
                chain.append(Ancestor(kind=known["kind"], id=known["id"], name=known["name"], stage=None, step=None))
        parent = None if run.parent_id is None else repository.checkpoint(db, run.parent_id)
        if parent is None:
            return chain
        row, run = parent
        name = checkpoint_name(run, row)
        chain.append(Ancestor(kind="checkpoint", id=row.id, name=name, stage=row.stage, step=row.step))
    return chain
