"""One attempt at a job, in a real runner process with a real command."""

import os
import signal
import sys

from sqlalchemy import update

from backend.base_models.jobs import InitModelPayload
from backend.core.db import db_seconds
from backend.tables.base_model import RegisteredModel
from backend.tables.job import Job, JobKind, JobState
from tests.support.team import PATIENCE, Team

MODEL = InitModelPayload(model_id="m" * 32, name="Tiny")
COMMAND = "dexvla.cli init-model"


# A runner whose handler reads something large before its command: it is told to go on by a file.
SLOW_TO_BEGIN = """
import sys, time
from worker.jobs import runner
from worker.jobs.handlers.init_model import InitModelHandler

class Slow(InitModelHandler):
    def command(self, job):
        (job.folder / "begun").touch()
        while not (job.folder / "go").exists():
            time.sleep(0.05)
        return super().command(job)

runner.handler_of = lambda kind: Slow()
sys.exit(runner.run(runner.Settings(), sys.argv[1]))
"""


def queue(team: Team) -> str:
    return team.enqueue(JobKind.INIT_MODEL, MODEL)


def test_a_base_model_is_made_and_registered(team: Team) -> None:
    job_id = queue(team)
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt, job.done, job.total) == (JobState.DONE, 1, 1, 1), team.log(job_id)
    assert job.owner is None
    assert job.lease_until is None
    assert job.finished_at is not None
    assert job.result is not None
    with team.studio.db.transaction(write=False) as db:
        row = db.get(RegisteredModel, MODEL.model_id)
    assert row is not None
    assert row.name == job.result["name"] == "Tiny"
    assert "base model tiny written" in team.log(job_id)
    assert team.runner(job_id).wait(PATIENCE) == 75, "it is over"


def test_a_job_gives_way_to_robots_and_people(team: Team) -> None:
    runner = team.runner(queue(team), STUDIO_JOB_NICE="15")
    (command,) = team.until(lambda: team.pids(COMMAND), "the command runs")
    assert os.getpriority(os.PRIO_PROCESS, command) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 15)
    assert runner.wait(PATIENCE) == 0


def test_cancelling_ends_the_process_and_leaves_nothing(team: Team) -> None:
    job_id = queue(team)
    runner = team.runner(job_id)
    team.until(lambda: team.pids(COMMAND), "the command runs")
    with team.studio.db.transaction() as db:
        db.execute(update(Job).where(Job.id == job_id).values(state=JobState.CANCELLING, cause="cancelled by ada"))
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.cause) == (JobState.CANCELLED, "cancelled by ada")
    assert not team.pids(COMMAND)
    assert not list(team.settings.folder.models.iterdir())


def test_a_studio_that_stops_queues_the_job_again(team: Team) -> None:
    job_id = queue(team)
    runner = team.runner(job_id)
    team.until(lambda: team.pids(COMMAND), "the command runs")
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert job.state is JobState.QUEUED
    assert job.cause is not None
    assert job.cause.startswith("interrupted: the studio stopped")
    assert job.attempts_without_progress == 0, "nobody's fault"
    assert not team.pids(COMMAND)
    assert team.runner(job_id).wait(PATIENCE) == 0
    assert team.job(job_id).state is JobState.DONE


def test_a_process_that_keeps_being_killed_fails_the_job_after_three_attempts(team: Team) -> None:
    job_id = queue(team)
    for attempt in range(1, 4):
        runner = team.runner(job_id)
        (command,) = team.until(lambda: team.pids(COMMAND), "the command runs")
        os.kill(command, signal.SIGKILL)
        assert runner.wait(PATIENCE) == 0
        job = team.job(job_id)
        assert job.attempt == attempt
        assert job.state is (JobState.QUEUED if attempt < 3 else JobState.FAILED)
        assert job.cause is not None
        assert "memory" in job.cause
    assert not list(team.settings.folder.models.iterdir())


def test_what_a_user_did_wrong_fails_at_once_with_the_commands_own_words(team: Team) -> None:
    job_id = team.enqueue(JobKind.INIT_MODEL, InitModelPayload(model_id="n" * 32, name="x", preset="gigantic"))
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.cause is not None
    assert "gigantic" in job.cause
    assert "Traceback" not in team.log(job_id)


def test_two_runners_at_once_make_one_attempt(team: Team) -> None:
    job_id = queue(team)
    runners = [team.runner(job_id) for _ in range(3)]
    assert sorted(runner.wait(PATIENCE) for runner in runners) == [0, 75, 75]
    assert team.job(job_id).attempt == 1


def test_a_killed_runner_takes_its_process_with_it_and_the_next_finishes(team: Team) -> None:
    job_id = queue(team)
    runner = team.runner(job_id)
    team.until(lambda: team.pids(COMMAND), "the command runs")
    runner.kill()
    runner.wait()
    team.until(lambda: not team.pids(COMMAND), "the command is gone")
    assert team.job(job_id).state is JobState.RUNNING
    assert team.runner(job_id).wait(PATIENCE) == 75, "its lease lasts"
    with team.studio.db.transaction() as db:
        db.execute(update(Job).where(Job.id == job_id).values(lease_until=db_seconds() - 1))
    assert team.runner(job_id).wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt) == (JobState.DONE, 2)


def test_the_lease_is_renewed_before_the_command_begins(team: Team) -> None:
    """Comparing a base model with its sums reads all of it."""
    job_id = queue(team)
    runner = team.start([sys.executable, "-c", SLOW_TO_BEGIN, job_id], STUDIO_LEASE_SECONDS="3")
    folder = team.settings.folder.job(job_id)
    team.until((folder / "begun").exists, "the handler is asked")
    first = team.job(job_id).lease_until
    assert first is not None
    team.until(lambda: (team.job(job_id).lease_until or 0) > first + 2, "the lease is renewed", seconds=30)
    assert not team.pids(COMMAND)
    (folder / "go").touch()
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt) == (JobState.DONE, 1), team.log(job_id)


def test_a_process_that_gives_no_sign_of_life_is_stopped(team: Team) -> None:
    job_id = queue(team)
    runner = team.runner(job_id, STUDIO_PATIENCE_MINUTES='{"init_model": 0.05}')
    (command,) = team.until(lambda: team.pids(COMMAND), "the command runs")
    os.kill(command, signal.SIGSTOP)
    assert runner.wait(90) == 0
    job = team.job(job_id)
    assert job.state is JobState.QUEUED
    assert "no sign of life" in (job.cause or "")


def test_a_runner_that_lost_its_job_stops_and_writes_nothing(team: Team) -> None:
    job_id = queue(team)
    runner = team.runner(job_id)
    team.until(lambda: team.pids(COMMAND), "the command runs")
    with team.studio.db.transaction() as db:
        db.execute(update(Job).where(Job.id == job_id).values(attempt=7, owner="elsewhere"))
    assert runner.wait(PATIENCE) == 0
    job = team.job(job_id)
    assert (job.state, job.attempt, job.owner) == (JobState.RUNNING, 7, "elsewhere")
    assert "another attempt" in team.log(job_id)
