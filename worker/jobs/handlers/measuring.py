"""What a dataset's survey needs of each episode (worker/jobs/handlers/measure.py)."""

import sys
from typing import Any

from backend.surveys.jobs import MeasurePayload
from worker.jobs.handlers.base import Handler, JobContext


class MeasureHandler(Handler):
    payload = MeasurePayload
    resumes = "it goes on with the episodes that are not measured yet"

    def command(self, job: JobContext) -> list[str] | None:
        return [sys.executable, "-m", "worker.jobs.handlers.measure", job.id]

    def finish(self, job: JobContext) -> dict[str, Any]:
        return {}

    def clean(self, job: JobContext) -> None:
        """What was measured before it was ended stays, and pages are told."""
        job.publish("dataset", job.read(MeasurePayload).dataset_id)
