"""A real tiny training as a job: its runner is killed, the studio stops, and the run goes on from its checkpoints."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from backend.core.db import db_seconds
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.job import Job, JobState
from backend.tables.metric_point import MetricPoint
from backend.training import service as training
from backend.training.schemas import RunIn
from tests.support.team import Team, team
from tests.support.training_data import make_version

pytestmark = pytest.mark.clockless

__all__ = ["team"]

ME = Actor(id="0" * 32, name="Ada", role=Role.OPERATOR)
STEPS = 120  # a busy machine reads of the fourth step when many more are done
FIELDS = {
    "steps": STEPS,
    "batch_size": 1,
    "save_every": 10,
    "log_every": 1,
    "chunk_size": 8,
    "image_height": 56,
    "image_width": 84,
    "device": "cpu",
}
TRAINER = "dexvla.cli train"


def test_a_training_survives_its_runner_and_the_studio(
    team: Team, base_model: Path, make_episode: Callable[..., Path]
) -> None:
    model = RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1)
    with team.studio.db.transaction() as db:
        db.add(model)
    body = {
        "name": "pick cube",
        "stage": 2,
        "preset": "tiny",
        "sources": [{"version_id": make_version(team.studio, make_episode)}],
        "base_model_id": model.id,
        "fields": FIELDS,
    }
    with team.studio.db.transaction() as db:
        run = training.start(db, ME, team.studio, RunIn.model_validate(body))
    job_id = run.job.id

    def steps() -> list[tuple[int, int]]:
        with team.studio.db.transaction(write=False) as db:
            query = select(MetricPoint.step, MetricPoint.attempt).where(MetricPoint.run_id == run.id)
            return [(row.step, row.attempt) for row in db.execute(query.order_by(MetricPoint.step))]

    first = team.runner(job_id)
    team.until(lambda: len(steps()) > 12, "the first steps are in the database", seconds=180)
    (trainer,) = team.pids(TRAINER)
    first.kill()
    first.wait()
    team.until(lambda: trainer not in team.pids(TRAINER), "the trainer saves and leaves", seconds=60)
    with team.studio.db.transaction() as db:
        db.execute(update(Job).where(Job.id == job_id).values(lease_until=db_seconds() - 1))
    reached = max(steps())[0]
    second = team.runner(job_id)
    team.until(lambda: max(steps())[0] > reached + 3, "it goes on", seconds=180)
    team.until(lambda: team.job(job_id).attempts_without_progress == 0, "the job's row says so")
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(60) == 0
    job = team.job(job_id)
    assert job.state is JobState.QUEUED
    assert "last checkpoint" in (job.cause or "")
    assert not team.pids(TRAINER)
    assert team.runner(job_id).wait(300) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt, job.done, job.total) == (JobState.DONE, 3, STEPS, STEPS), team.log(job_id)
    found = steps()
    assert [step for step, _ in found] == list(range(1, STEPS + 1)), "one point a step, over all attempts"
    attempts = [attempt for _, attempt in found]
    assert attempts == sorted(attempts)
    assert set(attempts) == {1, 2, 3}
