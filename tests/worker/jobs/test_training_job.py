"""Training as a job of a real runner: cancelled, stopped with the studio, resumed; its curve is that of one run."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.base_models.whole import sums
from backend.jobs import service as jobs
from backend.tables.base_model import RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.training import service as training
from dexvla.train import runs
from tests.support.team import PATIENCE, Team
from tests.support.training_data import ME, stage_2, start

TRAINER = "dexvla.cli train"
LONG = {"steps": 400, "save_every": 8, "keep_checkpoints": 1}


def last_step(team: Team, run_id: str) -> int:
    with team.studio.db.transaction(write=False) as db:
        steps = db.scalars(select(MetricPoint.step).where(MetricPoint.run_id == run_id))
        return max(steps, default=0)


def saved(team: Team, run_id: str) -> list[int]:
    """Steps of the checkpoints whose files are there, by the rows."""
    with team.studio.db.transaction(write=False) as db:
        query = select(Checkpoint.step).where(Checkpoint.run_id == run_id, Checkpoint.deleted_at.is_(None))
        return sorted(db.scalars(query))


def test_cancelled_stopped_and_resumed(team: Team, base_model: Path, make_episode: Callable[..., Path]) -> None:
    run_id, job_id = start(team.studio, stage_2(team.studio, base_model, make_episode, **LONG))
    folder = team.settings.folder.run(run_id)

    runner = team.runner(job_id)
    team.until(lambda: last_step(team, run_id) >= 5, "the curve begins")
    assert team.job(job_id).done > 0
    with team.studio.db.transaction() as db:
        jobs.cancel(db, ME, team.studio, job_id)
    assert runner.wait(PATIENCE) == 0, team.log(job_id)
    assert team.job(job_id).state is JobState.CANCELLED
    assert not team.pids(TRAINER)
    cancelled_at = saved(team, run_id)
    assert cancelled_at == runs.steps_of(folder / "checkpoints")
    assert cancelled_at[-1] == last_step(team, run_id)

    with team.studio.db.transaction() as db:
        jobs.resume(db, ME, team.studio, job_id)
    runner = team.runner(job_id)
    team.until(lambda: last_step(team, run_id) > cancelled_at[-1] + 10, "it goes on, past another checkpoint")
    runner.terminate()  # the studio stops
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.QUEUED
    assert job.cause is not None
    assert "it goes on from its last checkpoint" in job.cause
    assert not team.pids(TRAINER)

    with team.studio.db.transaction() as db:  # shorter, so that the test ends
        row = db.get_one(Run, run_id)
        reached = runs.Run(folder).resumable_step()
        assert reached >= cancelled_at[-1]
        row.spec = {**row.spec, "steps": reached + 3}
    runner = team.runner(job_id)
    assert runner.wait(PATIENCE) == 0, team.log(job_id)
    job = team.job(job_id)
    assert (job.state, job.done, job.total, job.attempt) == (JobState.DONE, reached + 3, reached + 3, 3)
    assert job.result is not None
    assert job.result["step"] == reached + 3
    with team.studio.db.transaction(write=False) as db:
        curve = training.metrics(db, run_id, after=0, points=5000)
    assert curve.steps == list(range(1, reached + 4)), "no gap, nothing twice"
    assert curve.attempts[-1] == 3
    assert curve.attempts == sorted(curve.attempts)
    assert saved(team, run_id) == [reached + 3]


def test_what_a_run_starts_from_is_gone(team: Team, base_model: Path, make_episode: Callable[..., Path]) -> None:
    run_id, job_id = start(team.studio, stage_2(team.studio, base_model, make_episode))
    with team.studio.db.transaction() as db:
        row = db.get_one(Run, run_id)
        row.spec = {**row.spec, "init_from": "/unplugged/qwen2-vl"}
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert job.cause.startswith("/unplugged/qwen2-vl: what the run starts from is gone; put it back there and resume")


def test_a_base_model_that_changed_since_it_was_registered_is_not_trained_from(
    team: Team, base_model: Path, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(base_model, tmp_path / "model"))
    run_id, job_id = start(team.studio, stage_2(team.studio, model, make_episode))
    with team.studio.db.transaction() as db:
        row = db.scalar(select(RegisteredModel).where(RegisteredModel.path == str(model)))
        assert row is not None
        row.files = sums(model)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert team.runner(job_id).wait(30) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED
    assert "model.safetensors: sha256 is " in str(job.cause)
    assert "its registration says" in str(job.cause)
    assert not (team.settings.folder.run(run_id) / "checkpoints").exists()


@pytest.mark.parametrize("broken", ["episode", "model"])
def test_damaged_files_fail_it_with_the_line_that_the_command_said(
    team: Team, base_model: Path, make_episode: Callable[..., Path], broken: str, tmp_path: Path
) -> None:
    run_id, job_id = start(team.studio, stage_2(team.studio, base_model, make_episode))
    if broken == "episode":
        victim = next(team.settings.folder.episodes.rglob("*.hdf5"))
        victim.write_bytes(victim.read_bytes()[:5000])
        told = victim.name
    else:
        model = tmp_path / "model"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "llama"}')
        with team.studio.db.transaction() as db:
            row = db.get_one(Run, run_id)
            row.spec = {**row.spec, "init_from": str(model)}
        told = "model_type is 'llama'"
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.FAILED
    assert job.cause is not None
    assert told in job.cause
    assert "Traceback" not in job.cause
    assert not (team.settings.folder.run(run_id) / "checkpoints").exists()


def test_a_trainer_that_is_killed_begins_again_by_itself(
    team: Team, base_model: Path, make_episode: Callable[..., Path]
) -> None:
    fields = {"steps": 30, "save_every": 5}
    run_id, job_id = start(team.studio, stage_2(team.studio, base_model, make_episode, **fields))
    runner = team.runner(job_id)
    team.until(lambda: last_step(team, run_id) >= 6, "a checkpoint is behind it")
    for pid in team.pids(TRAINER):
        os.kill(pid, signal.SIGKILL)
    assert runner.wait(PATIENCE) == 0
    assert team.job(job_id).state is JobState.QUEUED
    assert team.runner(job_id).wait(PATIENCE) == 0
    assert team.job(job_id).state is JobState.DONE
    with team.studio.db.transaction(write=False) as db:
        assert training.metrics(db, run_id, after=0, points=100).steps == list(range(1, 31))
