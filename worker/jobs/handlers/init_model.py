"""A small base model with random weights: `dexvla init-model` into the studio's own models folder."""

import shutil
import sys
from pathlib import Path
from typing import Any

from backend.base_models import service as models
from backend.base_models.jobs import InitModelPayload
from backend.base_models.whole import sums
from backend.store.small import publish
from backend.tables.base_model import RegisteredModel
from worker.jobs.handlers.base import Handler, JobContext, Progress


class InitModelHandler(Handler):
    """The folder appears whole or not at all; a later attempt registers one that an earlier one made."""

    payload = InitModelPayload

    def command(self, job: JobContext) -> list[str] | None:
        wanted, target = job.read(InitModelPayload), self._target(job)
        if target.is_dir() and any(target.iterdir()):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.tmp"):  # of an attempt that was killed
            shutil.rmtree(left)
        size = ["--preset", wanted.preset, "--seed", str(wanted.seed)]
        return [sys.executable, "-m", "dexvla.cli", "init-model", str(target), *size]

    def poll(self, job: JobContext) -> Progress | None:
        made = self._target(job).is_dir()
        return Progress(done=int(made), total=1, note="" if made else "making the weights")

    def finish(self, job: JobContext) -> dict[str, Any]:
        wanted, target = job.read(InitModelPayload), self._target(job)
        files = sums(target)
        publish(job.studio.store, job.studio.settings.data, target)
        with job.fenced() as db:
            row = models.add_made(
                db,
                job.studio,
                model_id=wanted.model_id,
                name=wanted.name,
                path=target,
                files=files,
                created_by=job.created_by,
            )
            return {"model_id": row.id, "name": row.name, "size_bytes": row.size_bytes}

    def clean(self, job: JobContext) -> None:
        """Nobody can use what has no row."""
        with job.studio.db.transaction(write=False) as db:
            registered = db.get(RegisteredModel, job.read(InitModelPayload).model_id) is not None
        if not registered:
            target = self._target(job)
            for left in (target, *target.parent.glob(f".{target.name}.*.tmp")):
                shutil.rmtree(left, ignore_errors=True)

    def _target(self, job: JobContext) -> Path:
        return job.studio.settings.folder.models / job.read(InitModelPayload).model_id
