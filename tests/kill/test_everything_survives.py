"""kill -9 of any process of a whole `studio up`, at random moments, while a policy acts, a training is past its second
checkpoint and a recording runs (the next of each begins when one is over); on SQLite and on PostgreSQL.

KILLS=n kills so often (default 4), KILL_SEED=n repeats the moments of a run that failed. `make kill` kills 30 times.
With --log-cli-level info each kill is told: the role, and what ran when it came.
"""

import json
import logging
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import func, select
from websockets.exceptions import WebSocketException

from backend.core.roles import Role
from backend.datasets.jobs import RecordPayload
from backend.identity.actor import Actor
from backend.storage import service as storage
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.training import service as training
from backend.training.schemas import RunIn
from dexvla.episodes.reader import open_episode
from dexvla.live.messages import LiveState, Mode
from dexvla.live.status import RobotState
from dexvla.spec import RecordSpec
from tests.support.processes import kill
from tests.support.recordings import SMALL_CAMERAS
from tests.support.robot_hosts import LiveHost, Page
from tests.support.servers import postgresql
from tests.support.team import Team
from tests.support.tiny_policies import tiny_checkpoint
from tests.support.training_data import make_version

ME = Actor(id="0" * 32, name="Ada", role=Role.OPERATOR)
KILLS = int(os.environ.get("KILLS", "4"))
SAVE_EVERY = 4
STEPS = 40  # of a training; the next one begins when it is over
RECORDED = 3
# Words of their command lines, of processes that `studio up` starts or has started.
ROLES = {
    "api": "worker.cli api",
    "application": "worker.cli application",
    "worker": "worker.cli worker",
    "celery": "worker.jobs.celery_worker",
    "runner": "worker.jobs.runner",
    "trainer": "dexvla.cli train",
    "robot": "worker.cli robot",
    "broker": "unixsocket",  # as argument, and in the title that it gives itself
}
_AFTER_KILL_SECONDS = 300.0
_log = logging.getLogger(__name__)


@pytest.fixture(params=["sqlite", "postgresql"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            port = stack.enter_context(postgresql(tmp_path))
            url = f"postgresql+psycopg://studio:secret@127.0.0.1:{port}/studio"
        # Jobs do not give way: beside whatever else the machine does the test would wait for them for most of an hour.
        team = Team(tmp_path / "studio", lease_seconds=6, database_url=url)
        stack.callback(team.end)
        yield team


@dataclass(frozen=True, kw_only=True)
class Training:
    """Ids of the run and of its job."""

    id: str
    job: str


@dataclass(frozen=True, kw_only=True)
class Kill:
    role: str
    process: int
    training: str
    recording: str
    robot: str

    def __str__(self) -> str:
        return f"{self.role:11} {self.process:7}  training {self.training}; recording {self.recording}; {self.robot}"


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
    checkpoint = tiny_checkpoint(tmp_path / "policy")
    up = team.start_all()
    team.until(team.broker_answers, "the broker answers", seconds=120)
    train_anew, dataset = _prepare_jobs(team, base_model, make_episode)
    runs, records = [train_anew()], [_record(team, dataset, seed=0)]
    scene = Scene(team, up, checkpoint)
    scene.act()

    roles: list[str] = []
    killed: list[Kill] = []
    best: dict[str, int] = {}
    while len(killed) < KILLS:
        if team.job(records[-1]).state.over:
            records.append(_record(team, dataset, seed=RECORDED * len(records)))
        if team.job(runs[-1].job).state.over:
            runs.append(train_anew())
        train, record = runs[-1], records[-1]
        team.until(partial(_saved_twice, team, train), "the training saved twice", seconds=900)
        if not roles:
            roles = list(ROLES)
            chance.shuffle(roles)
        role = roles.pop()
        if role in {"worker", "celery", "runner", "trainer"}:
            # an attempt that came no further than the one before counts against the job, and rightly
            for one in (train.job, record):
                team.until(partial(_further, team, one, best.get(one, 0)), "the job gets on", seconds=600)
                best[one] = team.job(one).done
        time.sleep(chance.uniform(0, 1.5))
        if not (found := team.pids(ROLES[role])):
            continue
        process = chance.choice(sorted(found))
        killed.append(_what_runs(team, scene, role, process, train.job, record))
        kill(process)
        _log.info("%3d %s", len(killed), killed[-1])
        assert up.poll() is None, f"KILL_SEED={seed}: studio up ended after {_told(killed)}"
        scene.leave()  # nobody watches: whatever was killed, nothing moves
        _rests(team, up, seed, killed)
        scene.act()
    scene.leave()
    for job in team.until_over(*[run.job for run in runs], *records, seconds=900):
        assert job.state is JobState.DONE, f"KILL_SEED={seed} {_told(killed)}: {job.cause}\n{team.log(job.id)[-4000:]}"
    for run in runs:
        _check_training(team, run)
    _check_episodes(team, dataset, len(records))
    up.terminate()
    assert up.wait(30) == 0
    _check_storage(team)
    if len(killed) > 2 * len(ROLES):
        assert {one.role for one in killed} == set(ROLES)


def _what_runs(team: Team, scene: Scene, role: str, process: int, train: str, record: str) -> Kill:
    def told(job: Job) -> str:
        return f"{job.state.value} attempt {job.attempt} at {job.done}/{job.total}"

    robot = "nothing is heard of the robot"
    if scene.host is not None:
        with suppress(OSError, AssertionError):
            robot = f"robot {scene.host.live().mode.value}"
    training, recording = told(team.job(train)), told(team.job(record))
    return Kill(role=role, process=process, training=training, recording=recording, robot=robot)


def _told(killed: list[Kill]) -> str:
    return "\n".join(["", *map(str, killed)])


def _record(team: Team, dataset: str, *, seed: int) -> str:
    payload = RecordPayload(dataset_id=dataset, spec=RecordSpec(episodes=RECORDED, seed=seed, cameras=SMALL_CAMERAS))
    return team.enqueue(JobKind.RECORD, payload)


def _prepare_jobs(
    team: Team, base_model: Path, make_episode: Callable[..., Path]
) -> tuple[Callable[[], Training], str]:
    """What begins a training, and the id of the dataset that is recorded into."""
    model = RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1)
    dataset = Dataset(name="recorded")
    with team.studio.db.transaction() as db:
        db.add_all([model, dataset])
    fields = {
        **{"steps": STEPS, "batch_size": 1, "save_every": SAVE_EVERY, "log_every": 1, "chunk_size": 8},
        **{"image_height": 56, "image_width": 84, "device": "cpu"},
    }
    body = {
        "stage": 2,
        "preset": "tiny",
        "sources": [{"version_id": make_version(team.studio, make_episode)}],
        "base_model_id": model.id,
        "fields": fields,
    }
    numbers = count(1)

    def begin() -> Training:
        with team.studio.db.transaction() as db:
            named = RunIn.model_validate({**body, "name": f"pick cube {next(numbers)}"})
            run = training.start(db, ME, team.studio, named)
        return Training(id=run.id, job=run.job.id)

    return begin, dataset.id


def _further(team: Team, job_id: str, than: int) -> bool:
    job = team.job(job_id)
    return job.state.over or job.done > than


def _saved_twice(team: Team, run: Training) -> bool:
    with team.studio.db.transaction(write=False) as db:
        saved = db.scalar(select(func.count()).select_from(Checkpoint).where(Checkpoint.run_id == run.id)) or 0
    return saved >= 2 or team.job(run.job).state.over


def _rests(team: Team, up: subprocess.Popen[bytes], seed: int, killed: list[Kill]) -> None:
    """Nobody watches: as soon as the robot's host answers, what it sends stays the same."""
    deadline = time.monotonic() + _AFTER_KILL_SECONDS
    while True:
        try:
            rests = LiveHost(team.studio, up).rests()
        except (OSError, AssertionError, TimeoutError, WebSocketException) as error:  # the host is being started again
            if time.monotonic() > deadline:
                pytest.fail(f"KILL_SEED={seed} {_told(killed)}: {error}")
            time.sleep(0.5)
        else:
            assert rests, f"KILL_SEED={seed}: it moves though nobody watches, after {_told(killed)}"
            return


def _check_training(team: Team, run: Training) -> None:
    """Every step once, in order of the attempts; what is there under a checkpoint's name is whole."""
    job, run_id = team.job(run.job), run.id
    assert (job.done, job.total) == (STEPS, STEPS)
    with team.studio.db.transaction(write=False) as db:
        query = select(MetricPoint.step, MetricPoint.attempt).where(MetricPoint.run_id == run_id)
        found = [(row.step, row.attempt) for row in db.execute(query.order_by(MetricPoint.step))]
        rows = list(db.scalars(select(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.deleted_at.is_(None))))
    assert [step for step, _ in found] == list(range(1, STEPS + 1))
    attempts = [attempt for _, attempt in found]
    assert attempts == sorted(attempts)
    folders = sorted((team.settings.folder.run(run_id) / "checkpoints").glob("step-*"))
    assert folders
    assert [row.step for row in sorted(rows, key=lambda row: row.step)] == [int(one.name[5:]) for one in folders]
    for folder in folders:
        for name, facts in json.loads((folder / "manifest.json").read_bytes())["files"].items():
            assert sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"], folder / name


def _check_episodes(team: Team, dataset: str, recordings: int) -> None:
    with team.studio.db.transaction(write=False) as db:
        rows = list(db.scalars(select(EpisodeRow).where(EpisodeRow.dataset_id == dataset)))
    assert rows
    assert len({row.seed for row in rows}) == len(rows) <= RECORDED * recordings, "no episode came twice"
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
