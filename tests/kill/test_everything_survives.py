"""kill -9 of any process of a whole `studio up`, at random moments, while a policy acts, a training is past its second
checkpoint and a recording runs; on SQLite and on PostgreSQL.

KILLS=n kills so often (default 4), KILL_SEED=n repeats the moments of a run that failed. `make kill` kills 30 times.
"""

import json
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import func, select
from websockets.exceptions import WebSocketException

from backend.access import Actor
from backend.auth.roles import Role
from backend.checkpoints.models import Checkpoint
from backend.datasets.models import Dataset
from backend.episodes.models import EpisodeRow
from backend.jobs.models import Job, JobKind, JobState
from backend.jobs.payloads import RecordPayload
from backend.live.messages import LiveState, Mode
from backend.models.models import ModelKind, RegisteredModel
from backend.robots.host import RobotState
from backend.storage import service as storage
from backend.training import service as training
from backend.training.models import MetricPoint
from backend.training.schemas import RunIn
from dexvla.episodes.reader import open_episode
from dexvla.spec import RecordSpec
from tests.backend.training_data import make_version
from tests.kill.test_jobs_survive import CAMERAS, kill
from tests.robot_hosts import LiveHost, Page
from tests.servers import postgresql
from tests.tiny_policies import tiny_checkpoint
from tests.worker.conftest import Team

ME = Actor(id="0" * 32, name="Ada", role=Role.OPERATOR)
KILLS = int(os.environ.get("KILLS", "4"))
SAVE_EVERY = 4
RECORDED = 3
# Words of their command lines, of processes that `studio up` starts or has started.
ROLES = {
    "api": "worker.cli api",
    "application": "worker.cli application",
    "worker": "worker.cli worker",
    "celery": "worker.celery_worker",
    "runner": "worker.runner",
    "trainer": "dexvla.cli train",
    "robot": "worker.cli robot",
    "broker": "--unixsocket",
}
_AFTER_KILL_SECONDS = 300.0


@pytest.fixture(params=["sqlite", "postgresql"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            port = stack.enter_context(postgresql(tmp_path))
            url = f"postgresql+psycopg://studio:secret@127.0.0.1:{port}/studio"
        team = Team(tmp_path / "studio", lease_seconds=6, database_url=url)
        stack.callback(team.end)
        yield team


class _Page(Page):
    """Its host may be killed under it."""

    def _run(self) -> None:
        with suppress(Exception):
            super()._run()


class Scene:
    """The robot's side: a page that watches over a policy that acts."""

    def __init__(self, team: Team, up: subprocess.Popen[bytes], checkpoint: Path) -> None:
        self._team, self._up, self._checkpoint = team, up, checkpoint
        self._page: Page | None = None
        self.host: LiveHost | None = None

    def act(self) -> None:
        """Until the policy acts, whatever was killed before."""
        deadline = time.monotonic() + _AFTER_KILL_SECONDS
        while True:
            try:
                return self._act()
            except (OSError, AssertionError, TimeoutError, RuntimeError, WebSocketException) as error:
                # what was killed is not there yet, or the host that answered is the one from before
                if time.monotonic() > deadline:
                    pytest.fail(f"no policy acts: {error}")
                self.leave()
                time.sleep(0.5)

    def _act(self) -> None:
        if self.host is None:
            self.host = LiveHost(self._team.studio, self._up)
        if self._page is None:
            self._page = _Page(self.host)
            self._page.__enter__()
            self._team.until(lambda: self._page is None or self._page.answers, "the page is heard", seconds=20)
        state = self.host.live()
        if state.status.state is RobotState.STOPPED:  # a host that was killed begins stopped
            self.host.post("/arm", {"by": "ada"})
        if state.policy is None:
            body = {"path": str(self._checkpoint), "instruction": "transfer the cube"}
            status, answer = self.host.post("/live/rollout", body)
            if status not in {200, 409}:
                raise RuntimeError(answer)
        self.host.live_until(self._acts, 60)

    def _acts(self, state: LiveState) -> bool:
        assert self.host is not None
        if state.mode is Mode.PAUSED:
            self.host.post("/live/resume")
        return state.mode is Mode.POLICY

    def leave(self) -> None:
        """The page is closed."""
        if self._page is not None:
            with suppress(Exception):
                self._page.__exit__()
        self._page = self.host = None


def test_a_studio_survives_kills_with_a_rollout_and_a_training(
    team: Team, base_model: Path, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 100_000))
    chance = random.Random(seed)
    steps = SAVE_EVERY * (5 + 2 * KILLS)
    checkpoint = tiny_checkpoint(tmp_path / "policy")
    up = team.start_all()
    team.until(team.broker_answers, "the broker answers", seconds=120)
    run_id, train, record, dataset = _begin_jobs(team, base_model, make_episode, steps)
    scene = Scene(team, up, checkpoint)
    scene.act()
    team.until(lambda: _checkpoints(team, run_id) >= 2, "the training saved twice", seconds=900)

    roles: list[str] = []
    killed: list[str] = []
    best = 0
    while len(killed) < KILLS:
        if not roles:
            roles = list(ROLES)
            chance.shuffle(roles)
        role = roles.pop()
        if role in {"worker", "celery", "runner", "trainer"} and not team.job(train).state.over:
            # an attempt that came no further than the one before counts against the job, and rightly
            team.until(partial(_further, team, train, best), "the training gets on", seconds=600)
            best = team.job(train).done
        time.sleep(chance.uniform(0, 1.5))
        if not (found := team.pids(ROLES[role])):
            continue
        kill(chance.choice(sorted(found)))
        killed.append(role)
        assert up.poll() is None, f"KILL_SEED={seed}: studio up ended after {killed}"
        scene.leave()  # nobody watches: whatever was killed, nothing moves
        _rests(team, up, seed, killed)
        scene.act()
    scene.leave()
    jobs = team.until_over(train, record, seconds=900)
    for job in jobs:
        assert job.state is JobState.DONE, f"KILL_SEED={seed} {killed}: {job.cause}\n{team.log(job.id)[-4000:]}"
    _check_training(team, run_id, jobs[0], steps)
    _check_episodes(team, dataset)
    up.terminate()
    assert up.wait(30) == 0
    _check_storage(team)


def _begin_jobs(
    team: Team, base_model: Path, make_episode: Callable[..., Path], steps: int
) -> tuple[str, str, str, str]:
    """Ids of the run, its job, the recording's job and its dataset."""
    model = RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1)
    dataset = Dataset(name="recorded")
    with team.studio.db.transaction() as db:
        db.add_all([model, dataset])
    fields = {
        **{"steps": steps, "batch_size": 1, "save_every": SAVE_EVERY, "log_every": 1, "chunk_size": 8},
        **{"image_height": 56, "image_width": 84, "device": "cpu"},
    }
    body = {
        "name": "pick cube",
        "stage": 2,
        "preset": "tiny",
        "sources": [{"version_id": make_version(team.studio, make_episode)}],
        "base_model_id": model.id,
        "fields": fields,
    }
    with team.studio.db.transaction() as db:
        run = training.start(db, ME, team.studio, RunIn.model_validate(body))
    payload = RecordPayload(dataset_id=dataset.id, spec=RecordSpec(episodes=RECORDED, seed=7, cameras=CAMERAS))
    return run.id, run.job.id, team.enqueue(JobKind.RECORD, payload), dataset.id


def _further(team: Team, job_id: str, than: int) -> bool:
    job = team.job(job_id)
    return job.state.over or job.done > than


def _checkpoints(team: Team, run_id: str) -> int:
    with team.studio.db.transaction(write=False) as db:
        return db.scalar(select(func.count()).select_from(Checkpoint).where(Checkpoint.run_id == run_id)) or 0


def _rests(team: Team, up: subprocess.Popen[bytes], seed: int, killed: list[str]) -> None:
    """Nobody watches: as soon as the robot's host answers, what it sends stays the same."""
    deadline = time.monotonic() + _AFTER_KILL_SECONDS
    while True:
        try:
            rests = LiveHost(team.studio, up).rests()
        except (OSError, AssertionError, TimeoutError, WebSocketException) as error:  # the host is being started again
            if time.monotonic() > deadline:
                pytest.fail(f"KILL_SEED={seed} {killed}: {error}")
            time.sleep(0.5)
        else:
            assert rests, f"KILL_SEED={seed}: it moves though nobody watches, after {killed}"
            return


def _check_training(team: Team, run_id: str, job: Job, steps: int) -> None:
    """Every step once, in order of the attempts; what is there under a checkpoint's name is whole."""
    assert (job.done, job.total) == (steps, steps)
    with team.studio.db.transaction(write=False) as db:
        query = select(MetricPoint.step, MetricPoint.attempt).where(MetricPoint.run_id == run_id)
        found = [(row.step, row.attempt) for row in db.execute(query.order_by(MetricPoint.step))]
        rows = list(db.scalars(select(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.deleted_at.is_(None))))
    assert [step for step, _ in found] == list(range(1, steps + 1))
    attempts = [attempt for _, attempt in found]
    assert attempts == sorted(attempts)
    folders = sorted((team.settings.folder.run(run_id) / "checkpoints").glob("step-*"))
    assert folders
    assert [row.step for row in sorted(rows, key=lambda row: row.step)] == [int(one.name[5:]) for one in folders]
    for folder in folders:
        for name, facts in json.loads((folder / "manifest.json").read_bytes())["files"].items():
            assert sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"], folder / name


def _check_episodes(team: Team, dataset: str) -> None:
    with team.studio.db.transaction(write=False) as db:
        rows = list(db.scalars(select(EpisodeRow).where(EpisodeRow.dataset_id == dataset)))
    assert rows
    assert len({row.seed for row in rows}) == len(rows) <= RECORDED, "no episode came twice"
    for row in rows:
        with open_episode(team.settings.folder.episode(dataset, row.id)) as episode:
            assert episode.steps == row.steps


def _check_storage(team: Team) -> None:
    """Rows and files belong together, but for a file whose row a kill prevented; the database is sound."""
    strays, missing = storage.look(team.studio, fresh_seconds=0)
    assert missing == []
    for path in strays["episode"]:
        with open_episode(path):  # not half-written
            pass
    if team.settings.database_url is None:
        with closing(sqlite3.connect(team.settings.folder.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
