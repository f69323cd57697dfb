"""A folder of episodes into a dataset, one by one (worker/jobs/handlers/import_folder.py)."""

import shutil
import sys
from collections.abc import Iterable
from typing import Any

from backend.datasets.jobs import ImportPayload
from worker.jobs.handlers.base import Handler, JobContext
from worker.jobs.handlers.import_folder import OUTCOMES, STAGED, read_outcomes, shown

_LISTED = 2000  # episodes


class ImportHandler(Handler):
    """Progress comes from the command; the result lists the episodes that were refused, with all reasons."""

    payload = ImportPayload
    resumes = "it goes on after the episodes that it has looked at"
    patience = 2400.0  # one that is long is converted and looked at, each of which has its own limit

    def command(self, job: JobContext) -> list[str] | None:
        return [sys.executable, "-m", "worker.jobs.handlers.import_folder", job.id]

    def finish(self, job: JobContext) -> dict[str, Any]:
        outcomes = {str(line["file"]): line for line in read_outcomes(job.folder / OUTCOMES)}.values()
        return {
            "accepted": [line["episode_id"] for line in outcomes if "episode_id" in line],
            "already_there": sum("already_there" in line for line in outcomes),
            "refused": _said(outcomes, "errors"),
            "warnings": _said(outcomes, "warnings"),
            "guesses": _said(outcomes, "guesses"),
        }

    def clean(self, job: JobContext) -> None:
        shutil.rmtree(job.folder / STAGED, ignore_errors=True)


def _said(outcomes: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """What was said in one way, by episode; the job's log has all."""
    found = [{"name": shown(str(line["file"])), "errors": line[kind]} for line in outcomes if line.get(kind)]
    return found[:_LISTED]
