"""An edit as a job: `dexvla edit` and the listing of what it wrote, whole after a kill, and not there if it fails."""

from pathlib import Path

from backend.core.db import utc_now
from backend.editing import finishing, repository, service
from backend.editing.schemas import EditIn
from backend.episodes.repository import of_dataset
from backend.intake.accept import take_over
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.job import JobState
from dexvla.editing.many import plan_edits, write_edits
from dexvla.spec import EditPlan
from tests.support.labelling_data import Labels, MakeData
from tests.support.team import Team, operator
from worker.jobs.handlers.edit import EditHandler


def queued(team: Team, labels: Labels) -> tuple[str, str]:
    """A split of both episodes: its id, and its job's."""
    me = operator(team)
    with team.studio.db.transaction() as db:
        take_over(db.get_one(Dataset, labels.dataset_id), db.get_one(EpisodeRow, labels.ids[0]))
    body = EditIn.model_validate({"action": "split", "at": [10]})
    made = service.create(me, team.studio, labels.dataset_id, body)
    assert made.job is not None
    return made.id, made.job.id


def files(team: Team, labels: Labels) -> set[str]:
    return {path.stem for path in (team.settings.folder.episodes / labels.dataset_id).iterdir()}


def test_a_killed_attempt_is_made_good_by_the_next(team: Team, make_data: MakeData, tmp_path: Path) -> None:
    labels = Labels(team.studio, make_data, 2)
    edit_id, job_id = queued(team, labels)
    with team.studio.db.transaction(write=False) as db:
        edit = repository.by_id(db, edit_id)
    assert edit is not None
    # an attempt that was killed between the files and their rows
    staged = tmp_path / "staged"
    plan = EditPlan.model_validate(
        {
            "edits": [
                {
                    "sources": [str(team.settings.folder.episode(labels.dataset_id, key)) for key in item["sources"]],
                    "name": item["result"],
                    "edit": item["edit"],
                }
                for item in edit.items
            ]
        }
    )
    write_edits(plan_edits(plan.edits, staged))
    finishing.place(team.studio, edit, staged)
    assert len(files(team, labels)) == 6
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert job.state is JobState.DONE, team.log(job_id)
    assert job.result == {"episodes": 4}
    with team.studio.db.transaction(write=False) as db:
        rows = of_dataset(db, labels.dataset_id)
        assert [(row.number, row.steps) for row in rows] == [(2, 10), (3, 14), (4, 10), (5, 14)]
    assert files(team, labels) == {*labels.ids, *(row.id for row in rows)}
    assert not (team.settings.folder.job(job_id) / "episodes").exists()


def test_what_fails_leaves_nothing(team: Team, make_data: MakeData) -> None:
    labels = Labels(team.studio, make_data, 2)
    _, job_id = queued(team, labels)
    with team.studio.db.transaction() as db:
        db.get_one(EpisodeRow, labels.ids[1]).deleted_at = utc_now()
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED, team.log(job_id)
    assert "episode 1 was edited or deleted meanwhile" in (job.cause or "")
    assert files(team, labels) == set(labels.ids)
    assert EditHandler.payload.model_validate(job.payload)
