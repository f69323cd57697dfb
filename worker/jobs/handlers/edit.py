"""An edit of episodes: `dexvla edit` writes the new files into the job's folder, and all of them become episodes at
once. What only moves or copies needs no command."""

import shutil
import sys
from pathlib import Path
from typing import Any

from backend.core.errors import NotFoundError
from backend.editing import finishing, repository
from backend.editing.jobs import EditPayload
from backend.episodes.files import file_of
from backend.store.hold import hold
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EpisodeEdit
from dexvla.errors import UserError
from dexvla.files import write_json
from dexvla.spec import EditPlan, PlannedEdit
from worker.jobs.handlers.base import Handler, JobContext


class EditHandler(Handler):
    payload = EditPayload
    resumes = "it starts again"

    def command(self, job: JobContext) -> list[str] | None:
        edit = self._edit(job)
        made = [item for item in edit.items if item["edit"] is not None]
        if edit.finished_at is not None or not made:
            return None
        staged = self._staged(job)
        shutil.rmtree(staged, ignore_errors=True)  # what an attempt left that was killed
        finishing.unplace(job.studio, edit)
        with job.studio.db.transaction(write=False) as db:
            rows = repository.episodes(db, [one["episode_id"] for one in edit.sources])
        finishing.refuse_gone(edit, rows)
        sources = {key: self._source(job, row) for key, row in rows.items()}
        plan = EditPlan(
            edits=tuple(
                PlannedEdit(
                    sources=tuple(str(sources[key]) for key in item["sources"]),
                    name=item["result"],
                    edit=item["edit"],
                    identities=tuple(rows[key].identity for key in item["sources"]),
                )
                for item in made
            )
        )
        write_json(job.folder / "plan.json", plan.model_dump(mode="json"))
        return [
            *(sys.executable, "-m", "dexvla.cli", "edit", "--plan", str(job.folder / "plan.json")),
            *("--out", str(staged), "--json", str(job.folder / "report.json")),
        ]

    def finish(self, job: JobContext) -> dict[str, Any]:
        edit = self._edit(job)
        if edit.finished_at is not None:
            return {"episodes": len(edit.results)}
        with job.fenced():  # before the work; the lock of the job keeps other attempts away meanwhile
            pass
        facts = finishing.place(job.studio, edit, self._staged(job))
        made = finishing.finish(job.studio, edit.id, facts, job.fenced)
        shutil.rmtree(self._staged(job), ignore_errors=True)
        return {"episodes": made}

    def _source(self, job: JobContext, row: EpisodeRow) -> Path:
        """Its file on this machine, for as long as the job is not over. Raises UserError for one that is gone."""
        try:
            file = file_of(job.studio, row)
        except NotFoundError as error:
            raise UserError(f"the file of episode {row.number} is gone; restore it from a backup") from error
        if not job.studio.store.remote:
            return file
        return hold(file, job.studio.settings.folder.held(job.id) / f"{row.id}.hdf5")

    def clean(self, job: JobContext) -> None:
        shutil.rmtree(self._staged(job), ignore_errors=True)
        edit = self._edit(job)
        if edit.finished_at is None:
            finishing.unplace(job.studio, edit)

    def _edit(self, job: JobContext) -> EpisodeEdit:
        """Raises UserError if its dataset was deleted."""
        with job.studio.db.transaction(write=False) as db:
            edit = repository.by_id(db, job.read(EditPayload).edit_id)
        if edit is None:
            raise UserError("the dataset of this edit was deleted")
        return edit

    def _staged(self, job: JobContext) -> Path:
        return job.folder / "episodes"
