"""kill -9 of every process that takes part in jobs, at random moments: every job ends well, none runs twice at a time.

KILL_SEED=n repeats the moments of a run that failed.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from backend.base_models.jobs import InitModelPayload
from backend.datasets.jobs import RecordPayload
from backend.tables.base_model import RegisteredModel
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.job import JobKind, JobState
from dexvla.spec import RecordSpec
from tests.support.processes import kill
from tests.support.recordings import SMALL_CAMERAS
from tests.support.team import Team

pytestmark = pytest.mark.clockless

COMMANDS = ("dexvla.cli record", "dexvla.cli init-model")
# Runners twice: a third attempt of the same job without progress would rightly fail it.
VICTIMS = ("runner", "runner", "pool", "celery", "command", "broker", "studio worker")


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """Workers are missed sooner than usual, so that the test need not wait half a minute for each."""
    team = Team(tmp_path / "studio", lease_seconds=6)
    yield team
    team.end()


def victims(team: Team, kind: str) -> list[int]:
    if kind in {"pool", "celery"}:
        celery = team.pids("worker.jobs.celery_worker")
        parents = {pid: parent(pid) for pid in celery}
        return [pid for pid in celery if (parents[pid] in celery) == (kind == "pool")]
    words = {
        "runner": "worker.jobs.runner",
        "command": COMMANDS[0],
        "broker": "unixsocket",
        "studio worker": "worker.cli worker",
    }
    return team.pids(words[kind])


def parent(process: int) -> int:
    """0 for one that is gone, or dead and not yet reaped."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process)
        return 0 if found.status() == psutil.STATUS_ZOMBIE else int(found.ppid())
    return 0


@contextmanager
def watched(team: Team, ids: list[str], twice: Counter[str]) -> Iterator[None]:
    """Count how often a job is seen with two commands at once."""
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.1):
            found = {pid: line for pid, line in team.family().items() if any(command in line for command in COMMANDS)}
            for job_id in ids:
                ours = {pid for pid, line in found.items() if job_id in line}
                # one that was just forked, for a tool that it calls, still bears its parent's command line
                apart = [pid for pid in ours if parent(pid) not in {0, *ours}]
                twice[job_id] += len(apart) > 1 and all(map(parent, apart))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@pytest.mark.timeout(1200)
def test_jobs_survive_kills_at_random_moments(team: Team) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 100_000))
    chance = random.Random(seed)
    team.start_broker()
    worker = team.start_worker("light")
    with team.studio.db.transaction() as db:
        datasets = [Dataset(name="one"), Dataset(name="two")]
        db.add_all(datasets)
    ids = [
        team.enqueue(
            JobKind.RECORD,
            RecordPayload(dataset_id=dataset.id, spec=RecordSpec(episodes=3, seed=10 * number, cameras=SMALL_CAMERAS)),
        )
        for number, dataset in enumerate(datasets)
    ]
    ids.append(team.enqueue(JobKind.INIT_MODEL, InitModelPayload(model_id="m" * 32, name="Tiny")))
    twice: Counter[str] = Counter()
    order = list(VICTIMS)
    chance.shuffle(order)
    with watched(team, ids, twice):
        for kind in order:
            wait_until = time.monotonic() + 8
            while not (found := victims(team, kind)) and time.monotonic() < wait_until:
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 1.5))
            found = victims(team, kind)
            if found:
                kill(chance.choice(found))
            if kind == "broker":
                time.sleep(chance.uniform(0, 1))
                team.start_broker()
            if kind == "studio worker":
                worker.wait(60)
                worker = team.start_worker("light")
        jobs = team.until_over(*ids, seconds=900)  # beside all the others
    for job in jobs:
        assert job.state is JobState.DONE, f"KILL_SEED={seed}: {job.cause}\n{team.log(job.id)}"
    assert sum(twice.values()) == 0, f"KILL_SEED={seed}: a job ran twice at a time"
    with team.studio.db.transaction(write=False) as db:
        for number, dataset in enumerate(datasets):
            rows = list(db.scalars(select(EpisodeRow).where(EpisodeRow.dataset_id == dataset.id)))
            seeds = [row.seed for row in rows]
            assert len(seeds) == len(set(seeds)), "an episode came twice"
            assert set(seeds) <= {10 * number + one for one in range(3)}
            assert rows
            result = jobs[number].result
            assert result is not None
            assert sorted(result["episodes"]) == sorted(row.id for row in rows)
            assert result["failed"] == 3 - len(rows)
            assert all(team.settings.folder.episode(dataset.id, row.id).is_file() for row in rows)
        assert db.scalar(select(func.count()).select_from(RegisteredModel)) == 1
    worker.terminate()
    worker.wait(60)
    assert not victims(team, "celery")
