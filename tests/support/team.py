"""A studio with real workers: a data folder, a private Valkey, `studio worker` as a process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from sqlalchemy import select

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.actor import Actor
from backend.jobs import repository, service
from backend.jobs.kinds import Payload
from backend.studio.context import Studio
from backend.tables.job import Job, JobKind, JobState
from backend.tables.user import User
from tests.support.databases import make_tables
from tests.support.paths import ROOT
from worker.core.processes import die_with_parent
from worker.supervise.broker import broker_command

PATIENCE = 180.0  # seconds for what takes a few: beside tests with a clock these get what is left


class Team:
    """One studio's processes; `end` leaves none.

    job_nice: 0, unless a test is about giving way: beside other tests a training would get no processor for minutes.
    """

    def __init__(self, data: Path, *, lease_seconds: float = 30, job_nice: int = 0, **settings: Any) -> None:
        self.settings = Settings(data=data, lease_seconds=lease_seconds, job_nice=job_nice, **settings)
        self.settings.folder.prepare()
        self.studio = Studio.open(self.settings)
        make_tables(self.studio.db)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start_broker(self) -> subprocess.Popen[bytes]:
        folder = self.settings.folder
        process = self.start(broker_command(folder.broker, folder.broker_socket))
        self.until(self.broker_answers, "the broker answers")
        return process

    def broker_answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.studio.broker.ping())
        return False

    def start_worker(
        self, queues: str = "light", *, arguments: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker.cli", "worker", "--queues", queues, *arguments]
        return self.start(command, **environment)

    def start_all(self, **environment: str) -> subprocess.Popen[bytes]:
        """`studio up`, with whatever it starts; it ends when this process does."""
        command = [sys.executable, "-m", "worker.cli", "up", "--port", "0"]
        return self.start(command, preexec=die_with_parent(signal.SIGTERM), **environment)

    def runner(self, job_id: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.start([sys.executable, "-m", "worker.jobs.runner", job_id], **environment)

    def start(
        self, command: list[str], *, preexec: Callable[[], None] | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        given = {**os.environ, "PYTHONPATH": str(ROOT), **self.settings.environment(), **environment}
        with (self.settings.folder.logs / "all.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=given, stdout=log, stderr=log, start_new_session=True, preexec_fn=preexec
            )
        self._processes.append(process)
        return process

    def enqueue(self, kind: JobKind, payload: Payload, **values: Any) -> str:
        with self.studio.db.transaction() as db:
            return service.enqueue(db, self.studio, None, kind=kind, title="a job", payload=payload, **values).id

    def job(self, job_id: str) -> Job:
        with self.studio.db.transaction(write=False) as db:
            job = repository.get(db, job_id)
            assert job is not None
            return job

    def log(self, job_id: str) -> str:
        path = self.settings.folder.job(job_id) / "log.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def until(self, condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
        """Wait for something to become true; returns what it became."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                log = (self.settings.folder.logs / "all.log").read_text(errors="replace")[-6000:]
                pytest.fail(f"not within {seconds:.0f} s: {what}\n{log}")
            time.sleep(0.05)
        return found

    def until_over(self, *ids: str, seconds: float = 180) -> list[Job]:
        self.until(lambda: all(self.job(one).state.over for one in ids), "the jobs are over", seconds=seconds)
        return [self.job(one) for one in ids]

    def until_state(self, job_id: str, state: JobState, *, seconds: float = 30) -> Job:
        self.until(lambda: self.job(job_id).state is state, f"the job is {state.value}", seconds=seconds)
        return self.job(job_id)

    def family(self) -> dict[int, str]:
        """Processes of this studio with their command lines, found by its data folder in their environment; the broker,
        which writes its title over its environment, by the socket in that title."""
        data, socket = str(self.settings.data), str(self.settings.folder.broker_socket)
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # gone, or ended and not waited for
                command = " ".join(process.cmdline())
                if process.environ().get("STUDIO_DATA") == data or socket in command:
                    found[process.pid] = command
        return found

    def pids(self, words: str) -> list[int]:
        """Processes of this studio whose command line holds `words`."""
        return [pid for pid, command in self.family().items() if words in command and pid != os.getpid()]

    def end(self) -> None:
        for _ in range(20):
            left = self.pids("")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.05)
        for process in self._processes:
            process.kill()
            process.wait(10)
        self.studio.close()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """No process is started yet."""
    team = Team(tmp_path / "studio")
    yield team
    team.end()


def operator(team: Team) -> Actor:
    """ada, who may record and edit."""
    with team.studio.db.transaction() as db:
        user = db.scalar(select(User).where(User.name == "ada"))
        if user is None:
            user = User(name="ada", role=Role.OPERATOR, password_hash="")
            db.add(user)
            db.flush()
        return Actor(id=user.id, name=user.name, role=user.role)
