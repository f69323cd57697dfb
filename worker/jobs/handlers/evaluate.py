"""Evaluations: `dexvla eval` into the evaluation's folder; its report becomes the row's."""

import shutil
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from backend.checkpoints.files import checkpoint_folder
from backend.core.errors import InvalidError
from backend.evaluations.jobs import EvaluatePayload
from backend.evaluations.schemas import ClosedLoopIn, EvaluationIn, OpenLoopIn
from backend.store.hold import hold_folder
from backend.store.small import publish
from backend.studio.events import publish_after_commit
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.evaluation import Evaluation
from backend.versions.files import held_version, rows_of
from dexvla.files import write_json
from dexvla.progress import READING
from dexvla.spec import ClosedLoopReport, EvalSpec, OpenLoopReport
from worker.jobs.handlers.base import Handler, JobContext, Progress

_REPORT = "report.json"
_Settings: TypeAdapter[ClosedLoopIn | OpenLoopIn] = TypeAdapter(EvaluationIn)
_Report: TypeAdapter[ClosedLoopReport | OpenLoopReport] = TypeAdapter(ClosedLoopReport | OpenLoopReport)


class EvaluateHandler(Handler):
    """Episodes that are done stay when the job is interrupted or cancelled: they can be looked at, and a closed loop
    goes on behind them."""

    payload = EvaluatePayload
    resumes = "it goes on with the next episode"
    patience = 3600.0  # a prediction of a large model on a CPU takes minutes; each chunk is a sign of life

    def command(self, job: JobContext) -> list[str]:
        with job.studio.db.transaction(write=False) as db:
            row = db.get_one(Evaluation, job.read(EvaluatePayload).evaluation_id)
            checkpoint = db.get_one(Checkpoint, row.checkpoint_id)
        if row.deleted_at is not None:
            raise InvalidError("The evaluation was deleted; start a new one.")
        settings = _Settings.validate_python(row.settings)
        folder = self._folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep(folder)
        (folder / _REPORT).unlink(missing_ok=True)
        held = job.studio.settings.folder.held(job.id)
        source = None if checkpoint.deleted_at is not None else checkpoint_folder(job.studio, checkpoint)
        if source is not None and job.studio.store.remote:
            source = hold_folder(source, held / "checkpoint")
        if source is None or not source.is_dir():
            raise InvalidError("The checkpoint's files were deleted before the evaluation began.")
        command = [sys.executable, "-m", "dexvla.cli", "eval", str(source), "--json", str(folder / _REPORT)]
        command += ["--details", str(folder)]
        if isinstance(settings, OpenLoopIn):
            command += _option("inference-steps", settings.inference_steps)
            with job.studio.db.transaction(write=False) as db:
                version = db.get_one(DatasetVersion, settings.version_id)
                rows = rows_of(db, job.studio, version)
            manifest = held_version(job.studio, version, rows, held / version.id)
            command += ["--data", str(manifest), "--stride", str(settings.stride), "--plots", str(folder)]
            return [*command, *(["--held-out"] if settings.held_out else [])]
        # what is asked for and the studio's own words (kind, checkpoint_id) apart, this is a specification
        fields = {
            name: value for name, value in settings.model_dump(mode="json").items() if name in EvalSpec.model_fields
        }
        write_json(job.folder / "spec.json", fields)
        return [*command, "--spec", str(job.folder / "spec.json"), "--videos", str(folder), "--resume"]

    def poll(self, job: JobContext) -> Progress | None:
        """Counts episodes; what is only being read does not count."""
        line, progress = job.last_line(), job.reported()
        if line is None or progress is None:
            return None
        if line.what == READING:
            return Progress(done=0, total=line.total, note=f"reading episode {line.done}")
        if job.memory.get("done") != progress.done:
            job.memory["done"] = progress.done
            job.publish("evaluation", job.read(EvaluatePayload).evaluation_id)
        return progress

    def finish(self, job: JobContext) -> dict[str, Any]:
        report = _Report.validate_json((self._folder(job) / _REPORT).read_bytes())
        publish(job.studio.store, job.studio.settings.data, self._folder(job))
        with job.fenced() as db:
            row = db.get_one(Evaluation, job.read(EvaluatePayload).evaluation_id)
            row.report = without_paths(report).model_dump(mode="json")
            publish_after_commit(db, job.studio, "evaluation", row.id)
            publish_after_commit(db, job.studio, "checkpoint", row.checkpoint_id)
        if isinstance(report, ClosedLoopReport):
            return {"success_rate": report.success_rate, "episodes": len(report.episodes)}
        return {
            "error_of_range": sum(report.error_of_range) / len(report.error_of_range),
            "episodes": len(report.episodes),
        }

    def clean(self, job: JobContext) -> None:
        """Whole videos and outcomes stay; of a job that left none, nothing does."""
        folder = self._folder(job)
        self._sweep(folder)
        if folder.is_dir() and not any(path.suffix in {".mp4", ".png"} for path in folder.iterdir()):
            shutil.rmtree(folder)

    def _folder(self, job: JobContext) -> Path:
        return job.studio.settings.folder.evaluation(job.read(EvaluatePayload).evaluation_id)

    def _sweep(self, folder: Path) -> None:
        for half in folder.glob(".*.tmp"):
            half.unlink(missing_ok=True)


def without_paths(report: ClosedLoopReport | OpenLoopReport) -> ClosedLoopReport | OpenLoopReport:
    """Where files lie on the server is nobody's business in the page; an episode file's name holds its id."""
    if isinstance(report, ClosedLoopReport):
        settings = report.settings.model_copy(update={"checkpoint": report.checkpoint})
        return report.model_copy(update={"settings": settings})
    episodes = tuple(one.model_copy(update={"path": Path(one.path).name}) for one in report.episodes)
    return report.model_copy(update={"episodes": episodes})


def _option(name: str, value: object) -> list[str]:
    """As one word: a text that begins with a dash is a value all the same."""
    return [] if value is None else [f"--{name}={value}"]
