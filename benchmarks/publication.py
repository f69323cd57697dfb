"""How long publishing and downloading an episode's labels take, beside the size of its file.

    python benchmarks/publication.py [--json FILE] [--steps N] [--megabytes N ...] [--turns N]

A studio of its own on SQLite in a temporary folder. Of each size one episode of `N` steps (JPEG rows of random bytes,
one camera) is labelled anew and published `--turns` times; afterwards the file must be what it was, byte by byte, and a
download must carry the newest labels. The times are those of the server, from the request to the whole answer; of the
download to its first byte.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.core.db import new_id, utc_now
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.credentials import SESSION_COOKIE
from backend.identity.secrets import new_token, token_hash
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from dexvla.checksums import file_sha256
from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.labelled import EpisodeLabels, with_labels
from dexvla.episodes.writer import write_episode
from dexvla.files import write_json
from dexvla.spec import Segment

GOAL_MS = 50.0


def make_file(path: Path, steps: int, megabytes: int) -> None:
    """An episode whose frames are that large together; only their ends are those of JPEG."""
    rng = np.random.default_rng(0)
    motion = np.zeros((steps, 14), np.float32)
    length = megabytes * 2**20 // steps
    write_episode(
        path,
        EpisodeData(
            action=motion, qpos=motion, qvel=motion, images={"cam_high": [b"\xff\xd8\xff\xd9"] * steps},
            instruction="Lift the cube", attributes=EpisodeAttributes(sim=True, fps=50.0),
        ),
    )  # fmt: skip
    with h5py.File(path, "r+") as file:
        del file["observations/images/cam_high"]
        rows = file.create_dataset("observations/images/cam_high", (steps, length), np.uint8, chunks=(1, length))
        for step in range(steps):
            rows[step] = rng.integers(1, 256, length, np.uint8)


def sign_in(studio: Studio) -> str:
    """A cookie of an annotator."""
    token, now = new_token(), utc_now()
    with studio.db.transaction() as db:
        user = User(name="ada", password_hash="", role=Role.ANNOTATOR)
        db.add(user)
        db.flush()
        expires = now.replace(year=now.year + 1)
        db.add(LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=expires))
    return token


def list_episode(studio: Studio, steps: int, megabytes: int) -> tuple[str, Path]:
    """(id, file)."""
    dataset_id, episode_id = new_id(), new_id()
    path = studio.settings.folder.episode(dataset_id, episode_id)
    path.parent.mkdir(parents=True)
    make_file(path, steps, megabytes)
    with studio.db.transaction() as db:
        db.add(Dataset(id=dataset_id, name=dataset_id, fps=50.0))
        db.flush()
        db.add(
            EpisodeRow(
                id=episode_id, dataset_id=dataset_id, number=0, identity=f"v2{new_id()}", steps=steps, action_dim=14,
                state_dim=14, fps=50.0, cameras=[], sim=True, size_bytes=path.stat().st_size,
                source=EpisodeSource.UPLOADED, instruction="Lift the cube",
            )
        )  # fmt: skip
    return episode_id, path


def measure(browser: TestClient, episode_id: str, path: Path, steps: int, turns: int) -> dict[str, Any]:
    url, before = f"/api/episodes/{episode_id}", (file_sha256(path), path.stat().st_mtime_ns)
    published, labelled, texts = [], [], []
    for turn in range(turns):
        edges = [steps * number // 30 for number in range(31)]
        texts = [f"Substep {number} of turn {turn}" for number in range(30)]
        segments = [
            {"start": start, "end": end, "text": text}
            for start, end, text in zip(edges, edges[1:], texts, strict=False)
        ]
        saved = browser.put(f"{url}/draft", json={"edit": turn, "segments": segments, "success": True})
        saved.raise_for_status()
        began = time.perf_counter()
        answer = browser.post(f"{url}/publish", json={"edit": turn + 1})
        published.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        substeps = tuple(Segment(**one) for one in segments)
        labels = EpisodeLabels(instruction="Lift", success=True, substeps=substeps, source=LabelSource.HUMAN)
        began = time.perf_counter()
        with_labels(path, labels)
        labelled.append((time.perf_counter() - began) * 1000)
    if (file_sha256(path), path.stat().st_mtime_ns) != before:
        raise SystemExit(f"{path}: the file changed")
    digest, size, tail = hashlib.sha256(), 0, b""
    with browser.stream("GET", f"{url}/file") as sent:
        for block in sent.iter_bytes():
            digest.update(block)
            size, tail = size + len(block), (tail + block)[-(2**22) :]
    if texts[-1].encode() not in tail:
        raise SystemExit(f"{path}: the download does not carry the newest labels")
    return {
        "file_mib": path.stat().st_size / 2**20,
        "publish_ms": {"median": statistics.median(published), "worst": max(published)},
        "labels_of_a_download_ms": {"median": statistics.median(labelled), "worst": max(labelled)},
        "sent_bytes": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 32, 1024])
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder) / "studio", redis_url="redis://127.0.0.1:9")
        settings.folder.prepare()
        studio = Studio.open(settings)
        migrate(studio.db)
        cookie = sign_in(studio)
        warm, *episodes = [list_episode(studio, options.steps, size) for size in (1, *options.megabytes)]
        studio.close()
        os.sync()  # the database would wait for a gigabyte that was just written
        origin = "http://127.0.0.1:8000"
        with TestClient(create_app(settings), base_url=origin, headers={"Origin": origin}) as browser:
            browser.cookies.set(SESSION_COOKIE, cookie)
            measure(browser, *warm, options.steps, 1)
            for episode_id, path in episodes:
                found.append(measure(browser, episode_id, path, options.steps, options.turns))
    print(f"{options.steps} steps, {options.turns} publications each; goal {GOAL_MS:g} ms")
    print("file MiB   publish ms (worst)   labels of a download ms (worst)")
    for one in found:
        publish, labels = one["publish_ms"], one["labels_of_a_download_ms"]
        print(
            f"{one['file_mib']:8.0f}   {publish['median']:7.1f} ({publish['worst']:.1f})"
            f"   {labels['median']:9.1f} ({labels['worst']:.1f})"
        )
    if options.json is not None:
        write_json(options.json, {"steps": options.steps, "goal_ms": GOAL_MS, "sizes": found})


if __name__ == "__main__":
    main()
