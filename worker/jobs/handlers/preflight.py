"""Look at a run before it starts: data and model are loaded, nothing is trained. The report is the job's result."""

import json
import os
import sys
from typing import Any

from backend.base_models.whole import require_whole
from backend.training.jobs import PreflightPayload
from backend.training.places import From, on_this_machine
from backend.training.recipe import spec_yaml
from backend.training.schemas import RunIn
from dexvla.files import atomic_file
from dexvla.spec import TrainSpec
from worker.jobs.handlers.base import Handler, JobContext
from worker.jobs.handlers.train import ACCELERATE_CONFIG, processes_for

_REPORT = "preflight.json"


class PreflightHandler(Handler):
    payload = PreflightPayload

    def command(self, job: JobContext) -> list[str]:
        wanted = job.read(PreflightPayload)
        spec = TrainSpec.model_validate(wanted.spec)
        if wanted.request is not None:
            begins, folder = From.of_request(RunIn.model_validate(wanted.request)), job.studio.settings.folder
            output, held = folder.runs / "preflight", folder.held(job.id)
            spec = on_this_machine(job.studio, spec, begins, output_dir=output, held=held)
        for place in (spec.init_from, spec.pretrained_expert):
            if place is not None:
                require_whole(job.studio, place)
        file = job.folder / "spec.yaml"
        with atomic_file(file) as temporary:
            temporary.write_text(spec_yaml(spec), encoding="utf-8")
        report = job.folder / _REPORT
        report.unlink(missing_ok=True)
        return [sys.executable, "-m", "worker.jobs.preflight", str(file), str(report), *launch_flags(spec)]

    def finish(self, job: JobContext) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((job.folder / _REPORT).read_text(encoding="utf-8"))
        return report


def launch_flags(spec: TrainSpec) -> list[str]:
    """How the run would be started here, for the estimate of its memory."""
    config = os.environ.get(ACCELERATE_CONFIG)
    return ["--processes", str(processes_for(spec)), *(["--launch", config] if config else [])]
