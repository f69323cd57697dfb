"""Fifty annotators who save every two seconds, against one real server.

    python benchmarks/annotator_saves.py [--json FILE] [--annotators N] [--seconds S] [--segments N] [--postgresql]
                                         [--alone]

A studio of its own (uvicorn on loopback, broker, SQLite in a temporary folder, and with --postgresql a private
PostgreSQL), `N` signed-in annotators with an episode each, one process for the server and one for all annotators. Each
save carries all segments of its episode and the edit number of the answer before. Afterwards every stored draft must be
the last acknowledged one: nothing is lost. The times are those of the clients, from sending to the last byte. Beside it
all a real training runs on every core (`dexvla train`, stage 2 of a tiny model), unless --alone.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.db import new_id, utc_now
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.credentials import SESSION_COOKIE
from backend.identity.secrets import new_token, token_hash
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from dexvla.files import write_json
from tests.support.servers import free_port, postgresql
from worker.supervise.broker import broker_command

STEPS = 3000
EVERY = 2.0  # seconds
PATIENCE = 60.0  # seconds until a save counts as unanswered
GOAL_MS = 50.0
VOCABULARY = [f"Substep {number} of the arm that is moving" for number in range(8)]


@contextmanager
def process(
    command: list[str], environment: dict[str, str], *, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(60)


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """A stage 2 run of a tiny model that lasts longer than all measurements; its first step is done."""
    dexvla, quiet = [sys.executable, "-m", "dexvla.cli"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    small = ["--cameras", "cam_high", "--height", "112", "--width", "140"]
    subprocess.run([*dexvla, "record", *small, "--episodes", "2", "--out", folder / "data"], check=True, **quiet)
    subprocess.run([*dexvla, "init-model", folder / "base"], check=True, **quiet)
    run = ["train", "--stage", "2", "--preset", "tiny", "--data", folder / "data", "--from", folder / "base"]
    steps = ["--steps", "1000000", "--set", "log_every=1", "--out", folder / "run"]
    with process([*dexvla, *map(str, [*run, *steps])], {}, stderr=subprocess.DEVNULL) as running:
        while not (folder / "run" / "metrics.jsonl").is_file():
            if running.poll() is not None:
                raise SystemExit("the training beside the saves did not start")
            time.sleep(0.2)
        yield
        if running.poll() is not None:
            raise SystemExit("the training beside the saves ended before they did")


def fill(studio: Studio, annotators: int) -> list[tuple[str, str]]:
    """A dataset with an episode (without a file) for each; (cookie, episode id) of each."""
    found = []
    with studio.db.transaction() as db:
        dataset = Dataset(name="benchmark", fps=50.0, vocabulary=VOCABULARY)
        db.add(dataset)
        db.flush()
        for number in range(annotators):
            user = User(name=f"annotator {number}", password_hash="", role=Role.ANNOTATOR)
            row = EpisodeRow(
                id=new_id(), dataset_id=dataset.id, number=number, identity=new_id(), steps=STEPS, action_dim=14,
                state_dim=14, fps=50.0, cameras=[], sim=True, size_bytes=0, source=EpisodeSource.UPLOADED,
                instruction="Lift the cube",
            )  # fmt: skip
            db.add_all([user, row])
            db.flush()
            token, now = new_token(), utc_now()
            expires = now.replace(year=now.year + 1)
            db.add(LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=expires))
            found.append((token, row.id))
    return found


class Annotator:
    """Saves a little changed episode every EVERY seconds, from a phase of its own, until `end`."""

    def __init__(self, port: int, cookie: str, episode: str, segments: int, seed: int) -> None:
        self.port, self.episode = port, episode
        self.headers = {
            "Cookie": f"{SESSION_COOKIE}={cookie}",
            "Origin": f"http://127.0.0.1:{port}",
            "Content-Type": "application/json",
        }
        self.random = random.Random(seed)
        self.count = segments
        self.edit, self.texts = 0, [VOCABULARY[number % len(VOCABULARY)] for number in range(segments)]
        self.milliseconds: list[float] = []
        self.refused: list[str] = []
        self.unanswered = 0

    @property
    def body(self) -> dict[str, Any]:
        edges = [STEPS * number // self.count for number in range(self.count + 1)]
        segments = [
            {"start": start, "end": end, "text": text}
            for start, end, text in zip(edges, edges[1:], self.texts, strict=False)
        ]
        return {"edit": self.edit, "segments": segments, "instruction": "Lift the cube", "success": True}

    def work(self, seconds: float) -> None:
        connection = self._connect()
        start = time.monotonic() + self.random.random() * EVERY
        for turn in range(int(seconds / EVERY)):
            time.sleep(max(0.0, start + turn * EVERY - time.monotonic()))
            kept = list(self.texts)
            self.texts[self.random.randrange(self.count)] = f"Edited in turn {turn}"
            began = time.perf_counter()
            try:
                status, content = self._request(connection, "PUT", json.dumps(self.body))
            except OSError:
                self.unanswered += 1
                connection = self._connect()
                self.texts = kept
                self._look(connection)
                continue
            self.milliseconds.append(1000 * (time.perf_counter() - began))
            if status == 200:
                self.edit = json.loads(content)["edit"]
            else:
                self.refused.append(f"{status} {content[:200]!r}")
                self.texts = kept
        connection.close()

    def _connect(self) -> HTTPConnection:
        """The page opens: not timed."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self._request(connection, "GET")
        return connection

    def _request(self, connection: HTTPConnection, method: str, body: str | None = None) -> tuple[int, bytes]:
        connection.request(method, f"/api/episodes/{self.episode}/draft", body, self.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _look(self, connection: HTTPConnection) -> None:
        """A save without an answer may have arrived or not; what the server says now is what counts from here."""
        stored = json.loads(self._request(connection, "GET")[1])
        if stored["edit"] > self.edit:
            self.edit, self.texts = stored["edit"], [segment["text"] for segment in stored["segments"]]


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/api/auth/me")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def measure(folder: Path, arguments: argparse.Namespace, database_url: str | None) -> dict[str, Any]:
    socket = folder / "valkey.sock"
    settings = Settings(data=folder / "studio", redis_url=f"unix://{socket}", database_url=database_url)
    settings.folder.prepare()
    with ExitStack() as stack:
        stack.enter_context(process(broker_command(folder, socket), {}))
        studio = Studio.open(settings)
        stack.callback(studio.close)
        migrate(studio.db)
        people = fill(studio, arguments.annotators)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "backend.app:create_app", "--factory", "--port", str(port)]
        environment = {**settings.environment(), "STUDIO_PORT": str(port)}
        server = stack.enter_context(process([*command, "--log-level", "warning", "--no-access-log"], environment))
        wait_for(port, server)
        annotators = [
            Annotator(port, cookie, episode, arguments.segments, seed) for seed, (cookie, episode) in enumerate(people)
        ]
        threads = [threading.Thread(target=one.work, args=(arguments.seconds,)) for one in annotators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return summary(studio, annotators)


def summary(studio: Studio, annotators: list[Annotator]) -> dict[str, Any]:
    times = [value for one in annotators for value in one.milliseconds]
    lost = 0
    with studio.db.transaction(write=False) as db:
        for one in annotators:
            stored = db.get(Draft, (one.episode, "substep", 0))
            texts = [] if stored is None else [segment.text for segment in stored.segments]
            lost += stored is None or stored.edit != one.edit or texts != one.texts
    p50, p95, p99, most = np.percentile(times, [50, 95, 99, 100])
    return {
        "saves": len(times),
        "refused": sum(len(one.refused) for one in annotators),
        "first_refusals": [line for one in annotators for line in one.refused][:3],
        "unanswered": sum(one.unanswered for one in annotators),
        "lost": lost,
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(most), 1),
        "goal_p99_ms": GOAL_MS,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--segments", type=int, default=12)
    parser.add_argument("--postgresql", action="store_true", help="also on a private PostgreSQL")
    parser.add_argument("--alone", action="store_true", help="no training beside it")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "training": not arguments.alone}
    with (
        tempfile.TemporaryDirectory(prefix="studio-saves-training-") as beside,
        nullcontext() if arguments.alone else training(Path(beside)),
    ):
        measure_all(arguments, found)
    if arguments.json:
        write_json(arguments.json, found)


def measure_all(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    """Adds to `found` what each database does, and prints it."""
    for name in ("sqlite", "postgresql") if arguments.postgresql else ("sqlite",):
        with tempfile.TemporaryDirectory(prefix="studio-saves-") as made:
            folder = Path(made)
            server = postgresql(folder) if name == "postgresql" else nullcontext(None)
            with server as port:
                url = None if port is None else f"postgresql+psycopg://studio:secret@127.0.0.1:{port}/studio"
                found[name] = measure(folder, arguments, url)
        one = found[name]
        print(
            f"{name:10}  {one['saves']} saves  p50 {one['p50_ms']} ms  p95 {one['p95_ms']} ms  p99 {one['p99_ms']} ms  "
            f"max {one['max_ms']} ms  refused {one['refused']}  lost {one['lost']}"
        )


if __name__ == "__main__":
    main()
