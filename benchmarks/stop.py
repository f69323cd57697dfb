"""How long a stop takes, from a script's request to its answer, quiet and while everything else is in trouble.

    python benchmarks/stop.py [--json FILE] [--trials N] [--only NAME ...]

A real studio: gateway, application, robot host of the simulated ALOHA and a private broker as processes, on SQLite
and, where it is installed, on PostgreSQL. Each stop is a POST on a connection of its own with an API token; the robot
is re-armed in between, beside the studio. What makes the trouble runs on this machine too, at the lowest priority,
because it stands for other people's machines.

Goal: the 99th percentile of each kind of trouble at most three times the quiet one, no answer later than 250 ms, each
confirmed by the host.
"""

import argparse
import asyncio
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.checkpoints.files import checkpoint_folder
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import hash_password, token_hash
from backend.migrations.migrate import migrate
from backend.robots.host_client import HostClient
from backend.robots.repository import by_name
from backend.robots.token import host_token
from backend.studio.context import Studio
from backend.tables.api_token import ApiToken
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from backend.tables.user import User
from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from dexvla.live.status import ArmIn
from tests.support.processes import children, frozen
from tests.support.servers import postgresql, postmaster
from worker.core.processes import die_with_parent, giving_way
from worker.supervise.broker import broker_command

ROOT = Path(__file__).parents[1]
NAME = "aloha-sim"
TOKEN = "dvs_" + "b" * 43
GOAL_MS, GOAL_FACTOR = 250.0, 3.0
EVERY_SECONDS = 0.1  # between two stops
LOCK_SECONDS = 30
ARCHIVE_BYTES = 2**30
PAGES, GUESSERS, SENDERS = 200, 25, 4


class Bench:
    """A studio that runs. url: of its database, None for SQLite."""

    def __init__(self, folder: Path, stack: ExitStack, url: str | None = None) -> None:
        self.settings = Settings(data=folder / "studio", database_url=url, redis_url=None)
        self.settings.folder.prepare()
        self._log = stack.enter_context((folder / "log").open("wb"))
        paths = self.settings.folder
        self.broker = self._start(stack, broker_command(paths.broker, paths.broker_socket))
        self.studio = Studio.open(self.settings)
        stack.callback(self.studio.close)
        migrate(self.studio.db)
        self.dataset, self.checkpoint = self._fill()
        self.port = _free_port()
        self.api = self._start(stack, [sys.executable, "-m", "worker.cli", "api", "--port", str(self.port)])
        self._start(stack, [sys.executable, "-m", "worker.cli", "robot"])
        self._until(lambda: self.ask("GET", "/api/health")[0] == 200)
        self._until(lambda: self.host().state().state == "holding")
        self.arm_at = self.host()

    def _start(self, stack: ExitStack, command: list[str]) -> "subprocess.Popen[bytes]":
        environment = os.environ | self.settings.environment()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # as `studio up` does: the kernel may share by session
            preexec_fn=die_with_parent(),
        )
        stack.callback(_end, process)
        return process

    def _fill(self) -> tuple[str, str]:
        """A person with a token, a dataset, and a checkpoint whose weights are a gibibyte of nothing."""
        with self.studio.db.transaction() as db:
            user = User(name="bench", password_hash=hash_password("correct horse battery"), role=Role.ADMIN)
            job = Job(kind=JobKind.TRAIN, title="run", payload={}, state=JobState.DONE)
            dataset = Dataset(name="bench", cameras=[], vocabulary=[])
            db.add_all([user, job, dataset])
            db.flush()
            run = Run(name="bench", stage=2, spec={}, sources=[], job_id=job.id)
            db.add_all([ApiToken(user_id=user.id, name="t", token_sha256=token_hash(TOKEN)), run])
            db.flush()
            row = Checkpoint(run_id=run.id, step=1, stage=2, attempt=1, size_bytes=ARCHIVE_BYTES, info={"mtime": 0})
            self.weights = checkpoint_folder(self.studio, row) / "model.safetensors"
            self.weights.parent.mkdir(parents=True)
            with self.weights.open("w+b") as file:
                file.truncate(ARCHIVE_BYTES)
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # another one is refused and nothing is sent
            row.files = [{"name": self.weights.name, "size": ARCHIVE_BYTES, "sha256": sha256}]
            row.sha256 = row.archive_sha256 = sha256
            db.add(row)
            db.flush()
            return dataset.id, row.id

    def host(self) -> HostClient:
        with self.studio.db.transaction(write=False) as db:
            row = by_name(db, NAME)
            if row is None:
                raise OSError("not announced yet")
            return HostClient(name=NAME, address=row.address, token=host_token(self.settings.folder.secrets, NAME))

    def ask(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def _until(self, condition: Callable[[], bool], seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with suppress(Exception):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise SystemExit(f"the studio did not start; see {self._log.name}")
            time.sleep(0.1)

    def stops(self, trials: int) -> dict[str, Any]:
        taken, confirmed, unwritten = [], 0, 0
        for _ in range(trials):
            with suppress(Exception):
                self.arm_at.arm(ArmIn(by="bench"))
            time.sleep(EVERY_SECONDS)
            pressed = time.monotonic()
            status, answer = self.ask("POST", f"/api/robots/{NAME}/stop")
            taken.append((time.monotonic() - pressed) * 1000)
            confirmed += status == 200 and answer["status"]["state"] == "stopped"
            unwritten += bool(answer.get("not_recorded"))
        p50, p99, most = (round(float(one), 1) for one in np.percentile(taken, [50, 99, 100]))
        return {"p50": p50, "p99": p99, "max": most, "n": trials, "confirmed": confirmed, "not_recorded": unwritten}

    @contextmanager
    def load(self, kind: str) -> Iterator[None]:
        """Somebody else, as a process of its own. One that gets other answers than it should is no load."""
        places = [self.dataset, self.checkpoint, str(self.weights)]
        command = [sys.executable, __file__, "--load", kind, str(self.port), *places]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=giving_way(19, die_with_parent(), session=True),
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            yield
            if process.poll() is not None:
                raise SystemExit(f"the load {kind!r} ended by itself; what it said stands above")
        finally:
            _end(process)

    # --- trouble ------------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process has SQLite's write lock."""
        code = (
            "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
            f"db.execute('BEGIN IMMEDIATE'); print(flush=True); time.sleep({LOCK_SECONDS})"
        )
        command = [sys.executable, "-c", code, str(self.settings.folder.database)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# --- what other people do -----------------------------------------------------------------------------------------


async def _request(port: int, head: str, body: bytes = b"", *, expected: set[int]) -> None:
    """Raises OSError where the connection ends, and AssertionError for an answer of another status than `expected`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        for start in range(0, len(body), 65536):
            writer.write(body[start : start + 65536])
            await writer.drain()
        answer = await reader.readline()
        if answer and int(answer.split()[1]) not in expected:
            raise AssertionError(f"{head.partition(chr(10))[0]}: {answer!r}, {(await reader.read(2000))[-500:]!r}")
        while await reader.read(2**20):
            pass
    finally:
        writer.close()


async def load(kind: str, port: int, dataset: str, checkpoint: str, weights: str) -> None:
    """Goes on until it is ended, or is not answered as it should be."""
    end = f"HTTP/1.1\nHost: 127.0.0.1:{port}\nConnection: close"
    signed = f"{end}\nAuthorization: Bearer {TOKEN}"

    async def guess(number: int) -> None:
        body = json.dumps({"name": "bench" if number % 2 else f"nobody{number}", "password": "guess guess"}).encode()
        head = f"POST /api/auth/login {end}\nOrigin: http://127.0.0.1:{port}\nContent-Type: application/json"
        await _request(port, f"{head}\nContent-Length: {len(body)}", body, expected={403, 429})

    async def send(number: int) -> None:
        path = ("/api/auth/login", "/api/datasets", f"/api/datasets/{dataset}/episodes")[number % 3]
        head = f"POST {path} {end}\nContent-Length: 20000000"
        await _request(port, head, bytes(20_000_000), expected={401, 413})

    async def fetch(number: int) -> None:
        os.utime(weights)  # touched, it is hashed again before it is sent
        await _request(port, f"GET /api/checkpoints/{checkpoint}/archive {signed}", expected={200})

    async def upload(number: int) -> None:
        path = f"/api/datasets/{dataset}/episodes?name=bench.hdf5"
        head = f"POST {path} {signed}\nContent-Length: {len(episode)}"
        await _request(port, head, episode, expected={201, 409})  # looked at all the same if it is there already

    async def poll(number: int) -> None:
        await asyncio.sleep(3 * (number / PAGES) if number not in polled else 3)
        polled.add(number)
        for path in ("/api/robots", "/api/jobs"):
            await _request(port, f"GET {path} {signed}", expected={200})

    episode, polled = b"", set[int]()
    if kind == "upload":
        episode = _episode()
    what, many = {
        "guess": (guess, GUESSERS),
        "send": (send, SENDERS),
        "fetch": (fetch, 2),
        "upload": (upload, 2),
        "poll": (poll, PAGES),
    }[kind]

    async def again(number: int) -> None:
        while True:
            with suppress(OSError):
                await what(number)
            await asyncio.sleep(0.01)

    print(flush=True)
    await asyncio.gather(*(again(number) for number in range(many)))


def _episode() -> bytes:
    """A file of 400 steps with three cameras."""
    steps, rng = 400, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "episode.hdf5"
        joints = rng.normal(size=(steps, 14)).astype(np.float32)
        image = rng.integers(0, 255, (steps, 120, 160, 3), np.uint8)
        write_episode(
            file,
            EpisodeData(
                qpos=joints,
                qvel=joints,
                action=joints,
                images={name: image for name in ("cam_high", "cam_left_wrist", "cam_right_wrist")},
                instruction="Measure.",
                attributes=EpisodeAttributes(sim=True, fps=50.0),
            ),
        )
        return file.read_bytes()


# --- the table ----------------------------------------------------------------------------------------------------


KINDS = {
    "quiet": "nothing else",
    "sqlite_locked": f"SQLite's write lock held for {LOCK_SECONDS} s",
    "guess": f"{GUESSERS} clients guess passwords",
    "send": "20 MB bodies posted without a sign-in",
    "fetch": "an archive of 1 GiB is hashed and sent, twice at once",
    "upload": "uploads are inspected",
    "poll": f"{PAGES} pages poll every 3 s",
    "broker_frozen": "the broker is frozen",
    "postgresql_quiet": "nothing else, on PostgreSQL",
    "postgresql_frozen": "PostgreSQL is frozen",
    "postgresql_killed": "PostgreSQL is killed",
}


def on_sqlite(folder: Path, trials: int, only: set[str]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    with ExitStack() as stack:
        bench = Bench(folder, stack)
        bench.stops(10)
        report["quiet"] = bench.stops(trials)
        for kind in ("guess", "send", "fetch", "upload", "poll"):
            if kind in only:
                with bench.load(kind):
                    bench.stops(5)
                    report[kind] = bench.stops(trials)
        if "sqlite_locked" in only:
            with bench.locked():
                report["sqlite_locked"] = bench.stops(trials)
        if "broker_frozen" in only:
            with frozen(bench.broker.pid):
                report["broker_frozen"] = bench.stops(trials)
    return report


def on_postgresql(folder: Path, trials: int, only: set[str]) -> dict[str, Any]:
    """Nothing where PostgreSQL is not installed."""
    if shutil.which("initdb") is None and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return {}
    report: dict[str, Any] = {}
    with ExitStack() as stack:
        port = stack.enter_context(postgresql(folder))
        bench = Bench(folder, stack, f"postgresql://studio:secret@127.0.0.1:{port}/studio")
        bench.stops(10)
        report["postgresql_quiet"] = bench.stops(trials)
        server = postmaster(port)
        if "postgresql_frozen" in only:
            with frozen(server, *children(server)):
                report["postgresql_frozen"] = bench.stops(trials)
        if "postgresql_killed" in only:
            for pid in (server, *children(server)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            report["postgresql_killed"] = bench.stops(trials)
    return report


def judge(report: dict[str, Any]) -> None:
    for kind in KINDS:
        row = report.get(kind)
        if row is None:
            continue
        quiet = report["postgresql_quiet" if kind.startswith("postgresql") else "quiet"]
        row["times_quiet"] = round(row["p99"] / quiet["p99"], 2)
        row["reached"] = row["max"] <= GOAL_MS and row["times_quiet"] <= GOAL_FACTOR and row["confirmed"] == row["n"]


def table(report: dict[str, Any]) -> None:
    line = "{:<52} {:>7} {:>7} {:>7} {:>8} {:>10}   {}".format
    print(line("stop answered, ms", "p50", "p99", "max", "x quiet", "confirmed", "goal"))
    for kind, words in KINDS.items():
        if (row := report.get(kind)) is not None:
            said = f"{row['confirmed']}/{row['n']}"
            reached = "reached" if row["reached"] else "missed"
            print(line(words, row["p50"], row["p99"], row["max"], row["times_quiet"], said, reached))
    print(f"load of the machine: {report['load_before']} before, {report['load_after']} after; {report['cores']} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--trials", type=int, default=100, help="stops of each kind (default 100)")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), help="beside the quiet ones")
    parser.add_argument("--load", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load is not None:
        kind, port, *places = arguments.load
        asyncio.run(load(kind, int(port), *places))
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    only = set(arguments.only)
    with tempfile.TemporaryDirectory(prefix="stop-") as temporary:
        for name, measure in (("sqlite", on_sqlite), ("postgresql", on_postgresql)):
            folder = Path(temporary) / name
            folder.mkdir()
            if name == "sqlite" or any(kind.startswith("postgresql") for kind in only):
                report |= measure(folder, arguments.trials, only)
    report["load_after"] = round(os.getloadavg()[0], 2)
    judge(report)
    table(report)
    if arguments.json is not None:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
