"""Runs: checked while they are filled in, started as jobs, read with their curves, deleted with their files."""

import json
from typing import Any

from sqlalchemy.orm import Session
from starlette.responses import Response

from backend.audit import service as audit
from backend.checkpoints import repository as checkpoint_queries
from backend.checkpoints import repository as repository_
from backend.checkpoints.names import checkpoint_name
from backend.core.db import new_id, utc_now
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.core.names import file_name
from backend.core.paging import CursorPage
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.store.small import obtain
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.training import checks, repository
from backend.training import form as the_form
from backend.training.assemble import differences
from backend.training.blocks import LAST_STEP
from backend.training.curves import curves
from backend.training.jobs import PreflightPayload, TrainPayload
from backend.training.recipe import command, command_many_gpus, spec_yaml
from backend.training.schemas import MetricsOut, RunCheck, RunDetail, RunIn, RunOut, RunsIn, TrainForm
from backend.versions.sources import sources_of
from dexvla.spec import TrainSpec

_LATEST = 3  # logged points: training and validation may be logged at different steps


def form() -> TrainForm:
    return the_form.form()


def check(db: Session, studio: Studio, body: RunIn) -> RunCheck:
    """Everything that can be told without loading a model. Never raises for a bad form: it says what is wrong."""
    folder = checks.slug_folder(body.name)
    looked = checks.look(db, studio, body, output_dir=folder)
    ok = not looked.errors and looked.spec is not None
    spec = looked.spec
    return RunCheck(
        ok=ok,
        errors=looked.errors,
        notes=looked.notes,
        differences={} if spec is None else differences(spec),
        values={} if spec is None else the_form.flat_spec(spec),
        command=command(spec, output_dir=folder) if spec is not None and ok else None,
        command_many_gpus=command_many_gpus(spec, output_dir=folder) if spec is not None and ok else None,
        spec_yaml=spec_yaml(spec) if spec is not None and ok else None,
    )


def preflight(db: Session, me: Actor, studio: Studio, body: RunIn) -> JobOut:
    """A job that loads data and model and looks; its result is dexvla's pre-flight report."""
    folder = studio.settings.folder.runs / "preflight"  # never made: a dry run writes nothing
    looked = checks.look(db, studio, body, output_dir=str(folder))
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.PREFLIGHT,
        title=f"Check {body.name} before it starts",
        payload=PreflightPayload(spec=_good(looked).model_dump(mode="json"), request=body.model_dump(mode="json")),
    )
    return jobs.job_out(db, job)


def start(db: Session, me: Actor, studio: Studio, body: RunIn) -> RunDetail:
    run_id = new_id()
    looked = checks.look(db, studio, body, output_dir=str(studio.settings.folder.run(run_id)))
    spec = _good(looked)
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.TRAIN,
        title=f"Train {body.name} (stage {body.stage})",
        payload=TrainPayload(run_id=run_id),
        subject_id=run_id,
        total=spec.steps,
    )
    db.flush()
    row = Run(
        id=run_id,
        name=body.name,
        stage=body.stage,
        preset=body.preset,
        spec=spec.model_dump(mode="json"),
        sources=[source.model_dump() for source in body.sources],
        base_model_id=body.base_model_id,
        expert_id=body.expert_id,
        parent_id=body.checkpoint_id,
        origin=looked.origin,
        request=body.model_dump(mode="json"),
        job_id=job.id,
        created_by=me.id,
    )
    db.add(row)
    db.flush()
    audit.record(db, me, "run.start", run_id, name=body.name, stage=body.stage, preset=body.preset)
    publish_after_commit(db, studio, "run", run_id)
    return run(db, studio, run_id)


def runs(db: Session) -> list[RunOut]:
    """Newest first."""
    return _outs(db, repository.runs(db))


def page(db: Session, asked: RunsIn) -> CursorPage[RunOut]:
    rows, cursor, total = repository.page(db, asked)
    return CursorPage(items=_outs(db, rows), next=cursor, total=total)


def run(db: Session, studio: Studio, run_id: str) -> RunDetail:
    row = _row(db, run_id)
    spec = TrainSpec.model_validate(row.spec)
    folder = checks.slug_folder(row.name)
    found = obtain(studio.store, studio.settings.data, studio.settings.folder.run(run_id) / "preflight.json")
    try:
        report: dict[str, Any] | None = json.loads(found.read_text(encoding="utf-8"))
    except FileNotFoundError:  # not started yet
        report = None
    return RunDetail(
        **_outs(db, [row])[0].model_dump(),
        spec=row.spec,
        differences=differences(spec),
        command=command(spec, output_dir=folder),
        command_many_gpus=command_many_gpus(spec, output_dir=folder),
        spec_yaml=spec_yaml(spec),
        git=row.git,
        preflight=report,
        request=row.request,
    )


def delete(db: Session, me: Actor, studio: Studio, run_id: str) -> None:
    row = _row(db, run_id)
    job = db.get_one(Job, row.job_id)
    if not JobState(job.state).over:
        raise ConflictError(f"{row.name} is not over ({job.state}); cancel it first.", detail={"job_id": job.id})
    own = [one.id for one in repository.checkpoints(db, run_id)]
    children = repository_.children(db, own)
    if children:
        raise ConflictError(
            f"{children[0].name} started from a checkpoint of {row.name}; delete that run first.",
            detail={"run_ids": [one.id for one in children]},
        )
    busy = checkpoint_queries.evaluation_that_needs(db, own)
    if busy is not None:
        raise ConflictError(f"An evaluation of a checkpoint of {row.name} is not over; cancel it first, or wait.")
    now = utc_now()
    row.deleted_at = now
    repository.mark_checkpoints_deleted(db, run_id, when=now, why="its run was deleted")
    repository.remove_points(db, run_id)
    audit.record(db, me, "run.delete", run_id, name=row.name)
    publish_after_commit(db, studio, "run", run_id)
    folder = studio.settings.folder.run(run_id)
    remove_files_after_commit(db, studio, row.name, [folder])


def metrics(db: Session, run_id: str, *, after: int, until: int = LAST_STEP, points: int) -> MetricsOut:
    """Raises InvalidError for a range without steps."""
    _row(db, run_id)
    if until <= after:
        raise InvalidError(f"until ({until}) must be above after ({after}): steps behind one and up to the other.")
    return curves(db, run_id, after=after, until=until, limit=points)


def spec_file(db: Session, studio: Studio, run_id: str) -> Response:
    """The spec as `dexvla train` reads it, to be saved under the run's name."""
    row = _row(db, run_id)
    return Response(
        spec_yaml(TrainSpec.model_validate(row.spec)),
        media_type="application/yaml",
        headers={"Content-Disposition": f'attachment; filename="{file_name(row.name)}.yaml"'},
    )


def _good(looked: checks.Looked) -> TrainSpec:
    if looked.errors or looked.spec is None:
        first = next(iter(looked.errors.items()), ("", "the form is incomplete"))
        message = f"{first[0]}: {first[1]}" if first[0] else first[1]
        raise InvalidError(message, fields=looked.errors)
    return looked.spec


def _row(db: Session, run_id: str) -> Run:
    row = repository.run(db, run_id)
    if row is None:
        raise NotFoundError(f"There is no run {run_id}; it may have been deleted.")
    return row


def _outs(db: Session, rows: list[Run]) -> list[RunOut]:
    ids = [row.id for row in rows]
    states = jobs.jobs_out(db, [row.job_id for row in rows])
    counts = repository.checkpoint_counts(db, ids)
    sources = sources_of(db, rows)
    people = repository.user_names(db, [row.created_by for row in rows])
    return [
        RunOut(
            id=row.id,
            name=row.name,
            stage=row.stage,
            preset=row.preset,
            sources=sources[row.id],
            base_model_id=row.base_model_id,
            base_model_name=_origin_name(row, "base_model"),
            expert_id=row.expert_id,
            expert_name=_origin_name(row, "expert"),
            parent_id=row.parent_id,
            parent_name=_parent_name(db, row),
            job=states[row.job_id],
            latest=_merged(repository.last_points(db, row.id, count=_LATEST)),
            checkpoints=counts.get(row.id, 0),
            created_at=row.created_at,
            created_by_name=people.get(row.created_by or ""),
        )
        for row in rows
    ]


def _origin_name(row: Run, what: str) -> str | None:
    known = row.origin.get(what)
    return None if known is None else str(known["name"])


def _parent_name(db: Session, row: Run) -> str | None:
    if row.parent_id is None:
        return None
    parent = db.get(Checkpoint, row.parent_id)
    return (
        _origin_name(row, "checkpoint") if parent is None else checkpoint_name(db.get_one(Run, parent.run_id), parent)
    )


def _merged(points: list[MetricPoint]) -> dict[str, float]:
    """The newest value of each curve."""
    values: dict[str, float] = {}
    for point in points:
        values |= point.values
    return values
