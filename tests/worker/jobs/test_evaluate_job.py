"""An evaluation as a job: a real runner with a real command, killed in the middle, goes on behind what was done."""

import signal
from pathlib import Path
from typing import Any

import pytest

from backend.core.roles import Role
from backend.evaluations import service
from backend.evaluations.schemas import ClosedLoopIn
from backend.identity.actor import Actor
from backend.tables.evaluation import Evaluation
from backend.tables.job import JobState
from tests.support.evaluation_data import Ids, add_checkpoint
from tests.support.team import PATIENCE, Team

ADA = Actor(id="a" * 32, name="ada", role=Role.OPERATOR)


@pytest.fixture
def ids(team: Team, trained: Path, demos: Path) -> Ids:
    return add_checkpoint(team.studio, trained, demos)


def start(team: Team, ids: Ids, **fields: Any) -> tuple[str, str]:
    """Ids of evaluation and job."""
    with team.studio.db.transaction() as db:
        asked = ClosedLoopIn(checkpoint_id=ids.checkpoint, **{"max_steps": 16, **fields})
        evaluation = service.start(db, ADA, team.studio, asked)
        return evaluation.id, evaluation.job.id


def report(team: Team, evaluation_id: str) -> dict[str, Any] | None:
    with team.studio.db.transaction(write=False) as db:
        return db.get_one(Evaluation, evaluation_id).report


def videos(team: Team, evaluation_id: str) -> list[str]:
    return sorted(file.name for file in team.settings.folder.evaluation(evaluation_id).glob("*.mp4"))


def test_killed_within_an_evaluation(team: Team, ids: Ids) -> None:
    evaluation, job_id = start(team, ids, episodes=6, max_steps=40)
    runner = team.runner(job_id)
    team.until(lambda: len(videos(team, evaluation)) >= 2, "two episodes are done", seconds=120)
    done = team.job(job_id)
    assert (done.total, done.note[:10]) == (6, "evaluating")
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(PATIENCE) == 0
    assert team.job(job_id).state is JobState.QUEUED
    assert "it goes on with the next episode" in (team.job(job_id).cause or "")
    kept = {name: _written(team, evaluation, name) for name in videos(team, evaluation)}
    assert 2 <= len(kept) < 6
    assert team.runner(job_id).wait(120) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt, job.done, job.total) == (JobState.DONE, 2, 6, 6), team.log(job_id)
    assert job.result == {"success_rate": 0.0, "episodes": 6}
    found = report(team, evaluation)
    assert found is not None
    assert [episode["seed"] for episode in found["episodes"]] == [1000, 1001, 1002, 1003, 1004, 1005]
    assert {name: _written(team, evaluation, name) for name in kept} == kept, "none was run twice"


def _written(team: Team, evaluation_id: str, name: str) -> int:
    return (team.settings.folder.evaluation(evaluation_id) / name).stat().st_mtime_ns


def test_a_checkpoint_that_breaks_fails_the_job_with_its_reason(team: Team, ids: Ids) -> None:
    evaluation, job_id = start(team, ids, episodes=1)
    weights = team.settings.folder.run(ids.run) / "checkpoints" / "step-0000002" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED, team.log(job_id)
    assert "model.safetensors" in (job.cause or "")
    assert "Traceback" not in (job.cause or "")
    assert report(team, evaluation) is None
    assert not team.settings.folder.evaluation(evaluation).exists(), "nothing half-written stays"
