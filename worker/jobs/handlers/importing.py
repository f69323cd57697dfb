"""A folder of episode files into a dataset, file by file (worker/jobs/handlers/import_folder.py)."""

import sys
from typing import Any

from backend.datasets.jobs import ImportPayload
from worker.jobs.handlers.base import Handler, JobContext
from worker.jobs.handlers.import_folder import OUTCOMES, read_outcomes


class ImportHandler(Handler):
    """Progress comes from the command; the result lists the files that were refused, with all reasons."""

    payload = ImportPayload
    resumes = "it goes on after the files that it has looked at"

    def command(self, job: JobContext) -> list[str] | None:
        return [sys.executable, "-m", "worker.jobs.handlers.import_folder", job.id]

    def finish(self, job: JobContext) -> dict[str, Any]:
        outcomes = {str(line["file"]): line for line in read_outcomes(job.folder / OUTCOMES)}.values()
        return {
            "accepted": [line["episode_id"] for line in outcomes if "episode_id" in line],
            "already_there": sum("already_there" in line for line in outcomes),
            "refused": [{"name": line["file"], "errors": line["errors"]} for line in outcomes if "errors" in line],
            "warnings": [
                {"name": line["file"], "errors": line["warnings"]} for line in outcomes if line.get("warnings")
            ],
        }
