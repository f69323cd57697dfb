"""Start evaluations, show what came out of them, hand out their videos and plots."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.responses import FileResponse, Response

from backend.audit.service import record
from backend.checkpoints.files import checkpoint_outline
from backend.checkpoints.names import checkpoint_name
from backend.checkpoints.whole import require_manifest
from backend.core.db import new_id, utc_now
from backend.core.errors import ConflictError, NotFoundError
from backend.core.paging import CursorPage
from backend.episodes import repository as episodes
from backend.evaluations import fit, repository
from backend.evaluations.jobs import EvaluatePayload
from backend.evaluations.schemas import ClosedLoopIn, EvaluationDetail, EvaluationOut, EvaluationsIn, OpenLoopIn
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.robots.kinds import checked
from backend.store.small import obtain_folder
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobKind
from backend.versions.files import manifest_of_version
from backend.versions.sources import version_names
from dexvla.spec import EpisodeOutcome

_MEDIA_TYPES = {".mp4": "video/mp4", ".png": "image/png", ".json": "application/json"}
_NOT_SERVED = {"report.json", "settings.json"}
OUTCOMES = "episodes.jsonl"  # as dexvla.evaluate.outcomes names it


def evaluations(db: Session, *, checkpoint_id: str | None) -> list[EvaluationOut]:
    found = repository.evaluations(db, checkpoint_id=checkpoint_id)
    return [EvaluationOut(**facts) for facts in _facts(db, found)]


def page(db: Session, asked: EvaluationsIn) -> CursorPage[EvaluationOut]:
    found, cursor, total = repository.page(db, asked)
    return CursorPage(items=[EvaluationOut(**facts) for facts in _facts(db, found)], next=cursor, total=total)


def evaluation(db: Session, studio: Studio, evaluation_id: str) -> EvaluationDetail:
    found = _found(db, evaluation_id)
    row = found[0]
    folder = _folder(studio, row)
    return EvaluationDetail(
        **_facts(db, [found])[0],
        report=row.report,
        outcomes=[] if row.kind == EvaluationKind.OPEN_LOOP else _outcomes(folder),
        files=sorted(served(folder)),
    )


def start(db: Session, me: Actor, studio: Studio, body: ClosedLoopIn | OpenLoopIn) -> EvaluationDetail:
    """Queue an evaluation. Raises InvalidError for what cannot come to a good end."""
    found = repository.checkpoint(db, body.checkpoint_id)
    if found is None:
        raise fit.wrong("checkpoint_id", "There is no such checkpoint.")
    checkpoint, run = found
    name = checkpoint_name(run, checkpoint)
    if checkpoint.deleted_at is not None:
        raise fit.wrong("checkpoint_id", f"The files of {name} were deleted; choose another checkpoint.")
    folder = checkpoint_outline(studio, checkpoint)
    require_manifest(studio, checkpoint, run)
    policy = fit.policy_of(folder)
    version_id = None
    if isinstance(body, ClosedLoopIn):
        body = checked(body.robot, body)
        fit.fits_simulator(policy, body.robot, body)
        total = body.episodes
        title = f"{name}: {total} episode{'s' if total > 1 else ''} of {body.task}"
    else:
        version, dataset = _version(db, body.version_id)
        version_id = version.id
        manifest = manifest_of_version(studio, version)
        names = episodes.identities(db, [version.dataset_id])
        total = fit.fits_version(
            policy,
            manifest,
            checkpoint=folder,
            held_out=body.held_out,
            names=names,
            elsewhere=studio.store.remote,
        )
        title = f"{name}: replay of {dataset.name}, version {version.number}"
    row = Evaluation(
        id=new_id(),
        kind=EvaluationKind(body.kind),
        checkpoint_id=checkpoint.id,
        version_id=version_id,
        settings=body.model_dump(mode="json"),
        report=None,
        created_by=me.id,
    )
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.EVALUATE,
        title=f"Evaluate {title}",
        payload=EvaluatePayload(evaluation_id=row.id),
        subject_id=row.id,
        total=total,
    )
    row.job_id = job.id
    db.add(row)
    db.flush()
    record(db, me, "evaluation.start", row.id, checkpoint_id=checkpoint.id, kind=row.kind.value)
    _tell(db, studio, row)
    return evaluation(db, studio, row.id)


def delete(db: Session, me: Actor, studio: Studio, evaluation_id: str) -> None:
    """With its videos and plots. Raises ConflictError while its job is not over."""
    row, _, _ = _found(db, evaluation_id)
    job = db.get_one(Job, row.job_id)
    if not job.state.over:
        raise ConflictError(f"The evaluation is {job.state.value}; cancel its job first.")
    row.deleted_at = utc_now()
    record(db, me, "evaluation.delete", row.id, checkpoint_id=row.checkpoint_id)
    _tell(db, studio, row)
    remove_files_after_commit(db, studio, "The evaluation", [studio.settings.folder.evaluation(row.id)])


def file(db: Session, studio: Studio, evaluation_id: str, name: str) -> Response:
    """One of the names that the detail lists; a name from the client is looked up there, never joined to a path."""
    row, _, _ = _found(db, evaluation_id)
    path = served(_folder(studio, row)).get(name)
    if path is None:
        raise NotFoundError(f"The evaluation has no file {name}.")
    return FileResponse(
        path,
        media_type=_MEDIA_TYPES[path.suffix],
        filename=name,
        content_disposition_type="inline",
        headers={"Cache-Control": "private, max-age=3600"},
    )


def _folder(studio: Studio, row: Evaluation) -> Path:
    """Its files on this machine. What another one made without sharing a folder comes when all of it is done."""
    folder = studio.settings.folder.evaluation(row.id)
    return folder if row.report is None else obtain_folder(studio.store, studio.settings.data, folder)


def served(folder: Path) -> dict[str, Path]:
    """Videos, plots and details, by name. Half-written files begin with a dot."""
    if not folder.is_dir():
        return {}
    return {
        path.name: path
        for path in folder.iterdir()
        if path.suffix in _MEDIA_TYPES and path.name not in _NOT_SERVED and path.name[0] != "." and path.is_file()
    }


def _outcomes(folder: Path) -> list[EpisodeOutcome]:
    """Episodes that are done so far. The last line may be half-written."""
    outcomes: list[EpisodeOutcome] = []
    try:
        lines = (folder / OUTCOMES).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            outcomes.append(EpisodeOutcome.model_validate_json(line))
        except ValidationError:
            break
    return outcomes


def _version(db: Session, version_id: str) -> tuple[DatasetVersion, Dataset]:
    version = db.get(DatasetVersion, version_id)
    if version is None:
        raise fit.wrong("version_id", "There is no such dataset version.")
    return version, db.get_one(Dataset, version.dataset_id)


def _found(db: Session, evaluation_id: str) -> repository.Found:
    found = repository.evaluation(db, evaluation_id)
    if found is None:
        raise NotFoundError("There is no such evaluation; it may have been deleted.")
    return found


def _tell(db: Session, studio: Studio, row: Evaluation) -> None:
    publish_after_commit(db, studio, "evaluation", row.id)
    publish_after_commit(db, studio, "checkpoint", row.checkpoint_id)


def _facts(db: Session, found: list[repository.Found]) -> list[dict[str, Any]]:
    """Fields of EvaluationOut, for each."""
    states = jobs.jobs_out(db, [row.job_id for row, _, _ in found])
    names = repository.user_names(db, {row.created_by for row, _, _ in found if row.created_by})
    versions = version_names(db, [row.version_id for row, _, _ in found if row.version_id is not None])
    return [
        {
            **_fact(row, states[row.job_id], names),
            "checkpoint_name": checkpoint_name(run, checkpoint),
            "version_name": versions.get(row.version_id or ""),
        }
        for row, checkpoint, run in found
    ]


def _fact(row: Evaluation, job: JobOut, names: dict[str, str]) -> dict[str, Any]:
    report = row.report or {}
    errors = report.get("error_of_range")
    return {
        "id": row.id,
        "kind": row.kind,
        "checkpoint_id": row.checkpoint_id,
        "version_id": row.version_id,
        "settings": row.settings,
        "job": job,
        "success_rate": report.get("success_rate"),
        "interval": report.get("interval"),
        "mean_reward": report.get("mean_reward"),
        "error_of_range": sum(errors) / len(errors) if errors else None,
        "reasoning_match": report.get("reasoning_match"),
        "created_at": row.created_at,
        "created_by_name": names.get(row.created_by or ""),
    }
