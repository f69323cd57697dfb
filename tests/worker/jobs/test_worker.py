"""`studio worker`: takes jobs as they are queued, says that it lives, and stops in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.base_models.jobs import InitModelPayload
from backend.jobs.workers import JobQueue, live_workers
from backend.system.service import health
from backend.tables.job import JobKind, JobState, Missing
from tests.support.paths import ROOT
from tests.support.team import PATIENCE, Team


def model(number: int) -> InitModelPayload:
    return InitModelPayload(model_id=f"{number:032}", name=f"Tiny {number}")


def test_jobs_run_as_they_come_and_a_stop_interrupts_them(team: Team) -> None:
    team.start_broker()
    before = team.enqueue(JobKind.INIT_MODEL, model(0))
    assert team.job(before).missing is Missing.WORKER
    worker = team.start_worker("train,light")
    team.until(lambda: [one.queues for one in live_workers(team.studio)] == [set(JobQueue)], "it serves both queues")
    team.start_worker("light")
    team.until(lambda: len(live_workers(team.studio)) == 2, "there are two, as people count them")
    assert health(team.studio).workers == 2
    (second,) = team.pids("worker.cli worker --queues light")
    os.kill(second, signal.SIGTERM)
    team.until(lambda: len(live_workers(team.studio)) == 1, "the second one has left")
    ids = [before, *(team.enqueue(JobKind.INIT_MODEL, model(number)) for number in (1, 2))]
    for job in team.until_over(*ids):
        assert (job.state, job.attempt) == (JobState.DONE, 1), team.log(job.id)
    last = team.enqueue(JobKind.INIT_MODEL, model(3))
    team.until(lambda: team.pids("dexvla.cli init-model"), "the command runs")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    job = team.job(last)
    assert job.state is JobState.QUEUED, team.log(last)
    assert "the studio stopped" in (job.cause or "")
    assert not [command for command in team.family().values() if "valkey" not in command and "redis" not in command]
    assert live_workers(team.studio) == []
    team.start_worker("light")
    (job,) = team.until_over(last)
    assert (job.state, job.attempt) == (JobState.DONE, 2)


def test_a_worker_hears_again_after_the_broker_was_killed(team: Team) -> None:
    broker = team.start_broker()
    worker = team.start_worker("light")
    team.until(lambda: live_workers(team.studio), "the worker is there")
    broker.kill()
    broker.wait()
    away = team.enqueue(JobKind.INIT_MODEL, model(0))
    assert team.job(away).missing is Missing.BROKER
    team.start_broker()
    (job,) = team.until_over(away)
    assert job.state is JobState.DONE
    (job,) = team.until_over(team.enqueue(JobKind.INIT_MODEL, model(1)))
    assert job.state is JobState.DONE
    assert worker.poll() is None, "it is the same one"
    worker.terminate()
    assert worker.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--queues", "heavy"], 1, "there are: train, light"),
        (["--concurrency", "0"], 2, "greater than or equal to 1"),
        ([], 1, "no studio has its data here"),
    ],
)
def test_what_a_worker_cannot_do_is_one_line(tmp_path: Path, arguments: list[str], status: int, told: str) -> None:
    command = [sys.executable, "-m", "worker.cli", "worker", "--data", str(tmp_path / "none"), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_concurrency_is_that_of_each_queue(team: Team) -> None:
    team.start_broker()
    team.start_worker("light", arguments=("--concurrency", "3"))
    team.until(lambda: live_workers(team.studio), "the worker is there")
    for number in range(3):
        team.enqueue(JobKind.INIT_MODEL, model(number))
    team.until(lambda: len(team.pids("worker.jobs.runner")) == 3, "three jobs at once")
