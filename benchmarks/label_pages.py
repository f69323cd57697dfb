"""How long the pages about all labels of a dataset take: finding, coverage, vocabulary, people, a rename's preview.

    python benchmarks/label_pages.py [--json FILE] [--episodes N] [--segments N] [--turns N]

A studio of its own on SQLite in a temporary folder, one dataset of `N` episodes without files, each with a draft and a
published revision of `N` segments, a tenth of them with something to warn about. The times are those of the server,
from the request to the whole answer, in one process without a network; in brackets what of them the processor worked.
"""

import argparse
import itertools
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

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
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.login_session import LoginSession
from backend.tables.segment import LabelSegment, Provenance
from backend.tables.user import User
from dexvla.files import write_json

STEPS = 3000
GOAL_MS = 200.0
VOCABULARY = [f"Substep {number} of the arm that is moving" for number in range(12)]


def labels(rng: random.Random, segments: int) -> tuple[LabelSegment, ...]:
    """Parts of different lengths in the vocabulary's order; some short, some misspelled, some unknown."""
    edges = [0, *sorted(rng.sample(range(1, STEPS), segments - 1)), STEPS]
    found = []
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        text = VOCABULARY[place % len(VOCABULARY)]
        if rng.random() < 0.05:
            text = rng.choice([text.replace("moving", "movign"), f"Something else in {rng.randrange(50)}"])
        found.append(LabelSegment(start, end, text, Provenance.HUMAN))
    return tuple(found)


def fill(studio: Studio, episodes: int, segments: int) -> tuple[str, str]:
    """(dataset id, cookie of an administrator)."""
    rng = random.Random(0)
    now, token = utc_now(), new_token()
    with studio.db.transaction() as db:
        dataset = Dataset(name="benchmark", fps=50.0, vocabulary=VOCABULARY)
        user = User(name="ada", password_hash="", role=Role.ADMIN)
        db.add_all([dataset, user])
        db.flush()
        expires = now.replace(year=now.year + 1)
        db.add(LoginSession(token_sha256=token_hash(token), user_id=user.id, created_at=now, expires_at=expires))
        for number in range(episodes):
            row = EpisodeRow(
                id=new_id(), dataset_id=dataset.id, number=number, identity=new_id(), steps=STEPS, action_dim=14,
                state_dim=14, fps=50.0, cameras=[], sim=True, size_bytes=0, source=EpisodeSource.UPLOADED,
                instruction="Lift the cube", label_state=LabelState.PUBLISHED,
            )  # fmt: skip
            db.add(row)
            db.flush()
            about: dict[str, Any] = {
                "episode_id": row.id, "tier": Tier.SUBSTEP, "segments": labels(rng, segments),
                "instruction": "Lift the cube", "edit": 1,
            }  # fmt: skip
            draft = {"updated_at": now, "updated_by": user.id, "state": WorkState.APPROVED}
            db.add(Draft(**about, **draft))
            db.add(LabelRevision(**about, number=1, published_by=user.id))
            db.add(
                LabelHistory(
                    **about, dataset_id=dataset.id, rater=0, kind=HistoryKind.SUBMITTED, by_id=user.id, by_name="ada"
                )
            )
        return dataset.id, token


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder / 'nobody.sock'}")
    settings.folder.prepare()
    studio = Studio.open(settings)
    migrate(studio.db)
    dataset, cookie = fill(studio, arguments.episodes, arguments.segments)
    studio.close()
    here = f"/api/datasets/{dataset}"
    rename = {"old": VOCABULARY[3], "new": "Another text"}
    requests: dict[str, tuple[str, dict[str, Any] | None]] = {
        "find everything": (f"{here}/segments", None),
        "find by text": (f"{here}/segments?text=Substep%203", None),
        "find by length": (f"{here}/segments?max_steps=24", None),
        "find by warning": (f"{here}/segments?warning=near_duplicate", None),
        "coverage": (f"{here}/coverage", None),
        "vocabulary": (f"{here}/vocabulary", None),
        "agreement": (f"{here}/agreement", None),
        "people": (f"/api/annotators/figures?dataset_id={dataset}", None),
        "preview of a rename": (f"{here}/vocabulary/rename/preview", rename),
    }
    client = TestClient(create_app(settings), base_url="http://127.0.0.1:8000")
    client.cookies.set(SESSION_COOKIE, cookie)
    client.headers["Origin"] = "http://127.0.0.1:8000"
    found: dict[str, Any] = {}
    with client:
        for name, (path, body) in requests.items():
            milliseconds, working = [], []
            for _ in range(arguments.turns + 1):
                began, worked = time.perf_counter(), time.process_time()
                answer = client.get(path) if body is None else client.post(path, json=body)
                milliseconds.append(1000 * (time.perf_counter() - began))
                working.append(1000 * (time.process_time() - worked))
                assert answer.status_code == 200, answer.text
            said = answer.json()
            found[name] = {
                "first_ms": milliseconds[0],
                "first_cpu_ms": working[0],
                "median_ms": statistics.median(milliseconds[1:]),
                "median_cpu_ms": statistics.median(working[1:]),
                "hits": said["total"] if isinstance(said, dict) and "total" in said else None,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--episodes", type=int, default=800)
    parser.add_argument("--segments", type=int, default=30)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments)
    for name, figures in found.items():
        late = "  above the goal" if figures["median_ms"] > GOAL_MS else ""
        first = f"first {figures['first_ms']:7.0f} ms ({figures['first_cpu_ms']:.0f})"
        print(f"{name:20} {first}, then {figures['median_ms']:7.0f} ms ({figures['median_cpu_ms']:.0f}){late}")
    if arguments.json:
        write_json(arguments.json, {"episodes": arguments.episodes, "segments": arguments.segments, "requests": found})


if __name__ == "__main__":
    main()
