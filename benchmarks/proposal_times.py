"""How long who labels waits for tracks, candidates and proposals. How good they are: proposals.py.

    python benchmarks/proposal_times.py [--json FILE] [--episodes N] [--steps T]

A real studio (SQLite, its broker, its application with signing in; no network) with one episode of T steps and N
published ones of 400 to 1000 steps, 14 dimensions, all with one instruction: the most that has to be compared. The
motions are random walks: their content does not change the time.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import redis
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from backend.app import create_app
from backend.core.db import new_id
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import hash_password
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment, Provenance
from backend.tables.user import User
from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from worker.supervise.broker import broker_command

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "only for this studio"
TEXTS = ("Reach", "Grasp", "Carry", "Release")
INSTRUCTION = "Move the cube."
IMAGE = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
WARM = 20


def walk(steps: int, seed: int) -> NDArray[np.float32]:
    """(T, 14): smooth, about as many turns a second as an arm makes."""
    random = np.random.default_rng(seed)
    points = np.cumsum(random.normal(0, 0.2, (steps // 50 + 2, 14)), axis=0)
    every = np.linspace(0, len(points) - 1, steps)
    return np.stack([np.interp(every, np.arange(len(points)), one) for one in points.T], axis=1).astype(np.float32)


def add(studio: Studio, dataset_id: str, number: int, steps: int, *, published: bool) -> str:
    """An episode as the intake would list it, without looking at the file in a sandbox; returns its id."""
    episode_id = new_id()
    motion = walk(steps, number)
    write_episode(
        studio.settings.folder.episode(dataset_id, episode_id),
        EpisodeData(
            action=motion,
            qpos=motion,
            qvel=motion,
            images={"cam_high": [IMAGE] * steps},
            instruction=INSTRUCTION,
            attributes=EpisodeAttributes(sim=True, robot="aloha_sim", fps=50.0),
        ),
    )
    starts = np.linspace(0, steps, len(TEXTS) + 1).astype(int).tolist()
    segments = tuple(
        LabelSegment(start, end, text, Provenance.HUMAN)
        for start, end, text in zip(starts, starts[1:], TEXTS, strict=False)
    )
    with studio.db.transaction() as db:
        db.add(
            EpisodeRow(
                id=episode_id,
                dataset_id=dataset_id,
                number=number,
                identity=f"{number:064d}",
                steps=steps,
                action_dim=14,
                state_dim=14,
                fps=50.0,
                cameras=[{"name": "cam_high", "height": 16, "width": 16}],
                sim=True,
                robot="aloha_sim",
                size_bytes=1,
                source=EpisodeSource.RECORDED,
                instruction=INSTRUCTION,
                label_state=LabelState.PUBLISHED if published else LabelState.UNLABELLED,
            )
        )
        db.flush()
        if published:
            db.add(
                LabelRevision(
                    episode_id=episode_id, number=1, edit=1, segments=segments, instruction=INSTRUCTION, success=True
                )
            )
    return episode_id


def milliseconds(function: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    function()
    return round((time.perf_counter() - begun) * 1000, 1)


def spread(values: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(values), "max_ms": max(values)}


def measure_reading(browser: TestClient, url: str) -> dict[str, Any]:
    def get(what: str) -> None:
        answer = browser.get(f"{url}/{what}")
        assert answer.status_code == 200, answer.text

    found: dict[str, Any] = {}
    for what in ("tracks", "candidates"):
        first = milliseconds(lambda what=what: get(what))
        warm = [milliseconds(lambda what=what: get(what)) for _ in range(WARM)]
        found[what] = {"first_ms": first, **spread(warm)}
    return found


def measure_proposals(browser: TestClient, url: str) -> dict[str, Any]:
    def propose(source: str) -> dict[str, Any]:
        answer = browser.post(f"{url}/proposals", json={"source": source})
        assert answer.status_code == 201, answer.text
        report: dict[str, Any] = answer.json()["report"]
        return report

    begun = time.perf_counter()
    report = propose("similar")
    took = round((time.perf_counter() - begun) * 1000, 1)
    found: dict[str, Any] = {"similar": {"first_ms": took, "first_compared": report["compared"]}}
    asked = 1
    while report["left"]:
        report, asked = propose("similar"), asked + 1
    found["similar"] |= {"requests_until_all_compared": asked, "compared": report["compared"]}
    found["similar"] |= spread([milliseconds(lambda: propose("similar")) for _ in range(WARM)])
    found["template"] = spread([milliseconds(lambda: propose("template")) for _ in range(WARM)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--episodes", type=int, default=800)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = subprocess.Popen(broker_command(folder, folder / "valkey.sock"), stdout=subprocess.DEVNULL)
        stack.callback(broker.wait)
        stack.callback(broker.terminate)
        client = redis.Redis(unix_socket_path=str(folder / "valkey.sock"))
        while not alive(client):
            time.sleep(0.05)
        settings = Settings(data=folder / "studio", redis_url=f"unix://{folder / 'valkey.sock'}")
        settings.folder.prepare()
        studio = Studio.open(settings)
        stack.callback(studio.close)
        migrate(studio.db)
        with studio.db.transaction() as db:
            dataset = Dataset(name="cubes", vocabulary=list(TEXTS))
            db.add_all([dataset, User(name="ann", password_hash=hash_password(PASSWORD), role=Role.ANNOTATOR)])
        lengths = np.random.default_rng(0).integers(400, 1001, options.episodes).tolist()
        for number, steps in enumerate(lengths):
            add(studio, dataset.id, number, steps, published=True)
        long = add(studio, dataset.id, len(lengths), options.steps, published=False)
        usual = add(studio, dataset.id, len(lengths) + 1, 700, published=False)
        browser = stack.enter_context(TestClient(create_app(settings), base_url=ORIGIN, headers={"Origin": ORIGIN}))
        answer = browser.post("/api/auth/login", json={"name": "ann", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        found = measure_reading(browser, f"/api/episodes/{long}")
        found |= measure_proposals(browser, f"/api/episodes/{usual}")
    for name, row in found.items():
        print(f"{name:14} {row}")
    if options.json:
        write_json(options.json, found)


def alive(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


if __name__ == "__main__":
    main()
