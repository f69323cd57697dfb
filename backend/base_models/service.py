"""Base models and experts: found below the configured roots, or made here; runs start from registered ones."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.access.dependencies import require_space
from backend.audit import service as audit
from backend.base_models import repository, roots
from backend.base_models.detect import Found, detect
from backend.base_models.files import made_here, model_place
from backend.base_models.jobs import InitModelPayload
from backend.base_models.schemas import ModelCandidate, ModelIn, ModelOut, TinyModelIn
from backend.base_models.whole import sums
from backend.core.db import new_id
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.base_model import RegisteredModel
from backend.tables.job import JobKind

MADE_HERE = ("tiny",)  # presets of `dexvla init-model`


def models(db: Session, studio: Studio) -> list[ModelOut]:
    return [_out(studio, row) for row in repository.all_models(db)]


def model(db: Session, model_id: str) -> RegisteredModel:
    row = db.get(RegisteredModel, model_id)
    if row is None:
        raise NotFoundError(f"There is no model {model_id}; choose one that is registered.")
    return row


def candidates(studio: Studio) -> list[ModelCandidate]:
    return [
        ModelCandidate(
            id=one.id,
            root=str(one.root),
            folder=one.folder,
            kind=one.found.kind,
            size_bytes=one.found.size_bytes,
            info=one.found.info,
        )
        for one in roots.candidates(studio.settings.model_roots)
    ]


def register(me: Actor, studio: Studio, body: ModelIn) -> ModelOut:
    """Reads every file of the model, before the transaction, to keep its sums."""
    found = next(
        (one.found for one in roots.candidates(studio.settings.model_roots) if one.id == body.candidate_id), None
    )
    if found is None:
        raise NotFoundError(
            "There is no such model below the configured roots any more; look again, or ask the administrator to set "
            "STUDIO_MODEL_ROOTS."
        )
    require_space(studio)
    with studio.db.transaction(write=False) as db:
        _refuse_taken(db, found, body.name)  # before minutes of reading
    files = sums(found.path)
    with studio.db.transaction() as db:
        _refuse_taken(db, found, body.name)
        row = _add(db, new_id(), body.name, found, me.id, files)
        audit.record(db, me, "model.register", row.id, name=row.name, path=row.path)
        publish_after_commit(db, studio, "model", row.id)
        return _out(studio, row)


def _refuse_taken(db: Session, found: Found, name: str) -> None:
    same = repository.by_path(db, str(found.path))
    if same is not None:
        raise ConflictError(f"This folder is registered already, as {same.name}.", detail={"id": same.id})
    _free_name(db, name)


def make_tiny(db: Session, me: Actor, studio: Studio, body: TinyModelIn) -> JobOut:
    if body.preset not in MADE_HERE:
        raise InvalidError(
            f"There is no size {body.preset!r}; known: {', '.join(MADE_HERE)}.",
            fields={"preset": f"known: {', '.join(MADE_HERE)}"},
        )
    _free_name(db, body.name)
    model_id = new_id()
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.INIT_MODEL,
        title=f"Make the model {body.name}",
        payload=InitModelPayload(model_id=model_id, name=body.name, preset=body.preset, seed=body.seed),
        subject_id=model_id,
    )
    audit.record(db, me, "model.make", model_id, name=body.name, preset=body.preset, seed=body.seed)
    return jobs.job_out(db, job)


def add_made(
    db: Session, studio: Studio, *, model_id: str, name: str, path: Path, files: dict[str, Any], created_by: str | None
) -> RegisteredModel:
    """The row of a model that a job has just made at `path`. Raises InvalidError if no model lies there.

    files: its sums (backend.base_models.whole), made before the transaction.

    A name that was taken meanwhile gets a number.
    """
    found = detect(path)
    if found is None:
        raise InvalidError(f"{path}: no model that a run could start from lies here.")
    row = db.get(RegisteredModel, model_id)
    if row is not None:  # a second attempt of the job
        return row
    unique, number = name, 2
    while repository.by_name(db, unique) is not None:
        unique, number = f"{name} ({number})", number + 1
    row = _add(db, model_id, unique, found, created_by, files)
    publish_after_commit(db, studio, "model", row.id)
    return row


def forget(db: Session, me: Actor, studio: Studio, model_id: str) -> None:
    row = model(db, model_id)
    run = repository.run_that_needs(db, model_id)
    if run is not None:
        raise ConflictError(
            f"The run {run.name} needs {row.name} and is not over; cancel it first, or wait.", detail={"run_id": run.id}
        )
    db.delete(row)
    audit.record(db, me, "model.forget", model_id, name=row.name, path=row.path)
    publish_after_commit(db, studio, "model", model_id)
    if made_here(row):
        remove_files_after_commit(db, studio, row.name, [model_place(studio.settings.folder, row)])


def facts(row: RegisteredModel) -> dict[str, Any]:
    """What a run keeps of a model that it starts from."""
    return {"id": row.id, "name": row.name, "kind": row.kind, "path": row.path, "info": row.info}


def _add(
    db: Session, model_id: str, name: str, found: Found, created_by: str | None, files: dict[str, Any]
) -> RegisteredModel:
    row = RegisteredModel(
        id=model_id,
        name=name,
        kind=found.kind,
        path=str(found.path),
        size_bytes=found.size_bytes,
        info=found.info,
        files=files,
        created_by=created_by,
    )
    db.add(row)
    db.flush()
    return row


def _free_name(db: Session, name: str) -> None:
    wanted = [job.payload.get("name") for job in repository.being_made(db)]
    if repository.by_name(db, name) is not None or name in wanted:
        raise ConflictError(f"There is a model named {name} already; choose another name.", fields={"name": "taken"})


def _out(studio: Studio, row: RegisteredModel) -> ModelOut:
    return ModelOut(
        id=row.id,
        name=row.name,
        kind=row.kind,
        path=row.path,
        size_bytes=row.size_bytes,
        info=row.info,
        created_at=row.created_at,
        available=(studio.store.remote and made_here(row))
        or detect(model_place(studio.settings.folder, row)) is not None,
    )
