"""What the pages about large amounts cost, and how that grows: lists, labels of a dataset, curves.

    python benchmarks/scale.py [--json FILE] [--sizes N ...] [--episodes N] [--datasets N] [--segments N] [--runs N]
                               [--points N] [--checkpoints N] [--evaluations N] [--annotators N] [--turns N]
                               [--only NAME ...] [--postgresql] [--keep FOLDER]

A studio of its own on SQLite in a temporary folder (--postgresql: on a private PostgreSQL). One dataset for each of
`--sizes`, which the requests ask about, and `--datasets` more that share what is left of `--episodes`: rows without
files, each with a draft, a published revision and three entries of the history, 12 segments in each; a tenth of the
segments has something to warn about, a tenth of the episodes is submitted, a tenth in work, a tenth untouched, a
fiftieth labelled twice. Rows are written in bulk, past the ORM.

Every request goes to one API process (uvicorn on loopback). Printed are the first call and the median of the others,
and in brackets what the process worked for it (CPU milliseconds of all its threads), which is what counts on a busy
machine; *grows* is the exponent of the CPU over the sizes, 1 for twice the work on twice the episodes. --keep keeps the
folder and takes what it finds there instead of filling anew (SQLite only).
"""

import argparse
import http.client
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import insert
from sqlalchemy.orm import Session

from backend.core.db import new_id, utc_now
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.credentials import SESSION_COOKIE
from backend.identity.secrets import new_token, token_hash
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobKind, JobState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_writing import rebuild
from backend.tables.login_session import LoginSession
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.tables.segment import LabelSegment, Provenance
from backend.tables.user import User
from dexvla.files import write_json
from dexvla.spec.data import IDENTITY_VERSION
from tests.support.servers import free_port, postgresql

STEPS = 600
AT_ONCE = 2000  # episodes of a bulk insert
GOALS_MS = {"runs": 200.0, "curve": 300.0}
GOAL_MS = 100.0
VOCABULARY = [f"Substep {number} of the arm that is moving" for number in range(12)]
PROVENANCES = [Provenance.HUMAN] * 6 + [Provenance.MACHINE_ACCEPTED] * 2 + [Provenance.MACHINE_EDITED]


# --- filling --------------------------------------------------------------------------------------------------


def labels(rng: random.Random, segments: int) -> tuple[LabelSegment, ...]:
    """Parts of different lengths in the vocabulary's order; some short, some misspelled, some unknown."""
    edges = [0, *sorted(rng.sample(range(1, STEPS), segments - 1)), STEPS]
    found = []
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        text = VOCABULARY[place % len(VOCABULARY)]
        if rng.random() < 0.05:
            text = rng.choice([text.replace("moving", "movign"), f"Something else in {rng.randrange(50)}"])
        found.append(LabelSegment(start, end, text, rng.choice(PROVENANCES)))
    return tuple(found)


class Filling:
    """Rows of a studio, in bulk."""

    def __init__(self, db: Session, arguments: argparse.Namespace) -> None:
        self.db, self.arguments = db, arguments
        self.rng, self.now = random.Random(0), utc_now()
        self.users: list[str] = []

    def add(self, table: Any, rows: list[dict[str, Any]]) -> None:
        if rows:
            self.db.execute(insert(table), rows)

    def people(self) -> str:
        """The cookie of an administrator, who is the first of them."""
        people = [
            {"id": new_id(), "name": f"annotator {number}", "password_hash": "", "role": Role.ADMIN if number == 0 else
             Role.ANNOTATOR, "disabled": False, "created_at": self.now}
            for number in range(self.arguments.annotators)
        ]  # fmt: skip
        self.add(User, people)
        self.users = [one["id"] for one in people]
        token = new_token()
        expires = self.now.replace(year=self.now.year + 1)
        session = {"token_sha256": token_hash(token), "user_id": self.users[0], "created_at": self.now}
        self.add(LoginSession, [{**session, "expires_at": expires}])
        return token

    def dataset(self, name: str, episodes: int) -> str:
        dataset = Dataset(id=new_id(), name=name, fps=50.0, vocabulary=VOCABULARY, next_number=episodes)
        self.db.add(dataset)
        self.db.flush()
        for first in range(0, episodes, AT_ONCE):
            self._episodes(dataset.id, range(first, min(episodes, first + AT_ONCE)))
        rebuild(self.db.connection(), dataset.id)
        return dataset.id

    def _episodes(self, dataset_id: str, numbers: range) -> None:
        rows, drafts, revisions, history = [], [], [], []
        for number in numbers:
            kind, episode = self.rng.randrange(10), new_id()
            state = {0: None, 1: WorkState.IN_PROGRESS, 2: WorkState.SUBMITTED}.get(kind, WorkState.APPROVED)
            published = state is WorkState.APPROVED
            label_state = LabelState.PUBLISHED if published else LabelState.DRAFT if state else LabelState.UNLABELLED
            success = self.rng.choice([True, True, False, None])
            tags = self.rng.choice([[], [], ["slow"], ["slow", "second try"]])
            rows.append(
                {"id": episode, "created_at": self.now, "dataset_id": dataset_id, "number": number,
                 "identity": f"{IDENTITY_VERSION}{new_id()}", "steps": STEPS,
                 "action_dim": 14, "state_dim": 14, "fps": 50.0, "sim": True, "size_bytes": 0,
                 "cameras": [{"name": "cam_high", "height": 240, "width": 320}],
                 "source": EpisodeSource.UPLOADED, "instruction": "Lift the cube", "success": success, "tags": tags,
                 "label_state": label_state}
            )  # fmt: skip
            if state is None:
                continue
            who, when = self.rng.choice(self.users), self.now - timedelta(minutes=self.rng.randrange(200_000))
            said = {
                "episode_id": episode, "tier": Tier.SUBSTEP, "segments": labels(self.rng, self.arguments.segments),
                "instruction": "Lift the cube", "edit": 1, "success": success, "paraphrases": [], "tags": tags,
            }  # fmt: skip
            done = state in {WorkState.SUBMITTED, WorkState.APPROVED}
            drafts.append({**said, **self._draft(0, state, who, when, done=done)})
            if number % 50 == 0:
                other = self.rng.choice(self.users)
                second = {**said, "segments": labels(self.rng, self.arguments.segments)}
                drafts.append({**second, **self._draft(1, WorkState.SUBMITTED, other, when, done=True)})
            if done:
                history += [self._moment(said, dataset_id, kind, who, when) for kind in self._kinds(published)]
            if published:
                revisions.append({**said, "id": new_id(), "created_at": when, "number": 1, "published_by": who})
        self.add(EpisodeRow, rows)
        self.add(Draft, drafts)
        self.add(LabelRevision, revisions)
        self.add(LabelHistory, history)

    def _draft(self, rater: int, state: WorkState, who: str, when: datetime, *, done: bool) -> dict[str, Any]:
        return {
            "rater": rater, "updated_at": when, "updated_by": who, "state": state, "assignee_id": who,
            "assigned_at": when, "contributors": [who], "submitted_by": who if done else None,
            "submitted_at": when if done else None,
        }  # fmt: skip

    def _kinds(self, published: bool) -> list[HistoryKind]:
        return [HistoryKind.SUBMITTED, *([HistoryKind.APPROVED, HistoryKind.PUBLISHED] if published else [])]

    def _moment(self, said: Any, dataset_id: str, kind: HistoryKind, who: str, when: datetime) -> dict[str, Any]:
        return {
            **said, "id": new_id(), "created_at": when, "dataset_id": dataset_id, "rater": 0, "kind": kind,
            "by_id": who, "by_name": "", "about_id": who, "comment": "",
        }  # fmt: skip

    def training(self) -> str | None:
        """Runs with curves, checkpoints and evaluations; the run with the most points, if there are any."""
        asked = self.arguments
        runs = [new_id() for _ in range(asked.runs)]
        jobs = [self._job(JobKind.TRAIN, run) for run in runs]
        self.add(Job, jobs)
        self.add(
            Run,
            [
                {"id": run, "created_at": self.now - timedelta(hours=place), "name": f"pick cube {place}", "stage": 2,
                 "preset": "tiny", "spec": {"output_dir": "x", "steps": 100_000}, "sources": [], "origin": {},
                 "request": {}, "job_id": jobs[place]["id"], "created_by": self.users[place % len(self.users)]}
                for place, run in enumerate(runs)
            ],
        )  # fmt: skip
        for place, run in enumerate(runs):
            points = asked.points if place == 0 else min(asked.points, 100)
            for first in range(0, points, 20_000):
                steps = range(first, min(points, first + 20_000))
                self.add(MetricPoint, [{"run_id": run, "step": step, "attempt": 1, "values": self._values(step)}
                                       for step in steps])  # fmt: skip
        files = [{"name": f"model-{part}.safetensors", "size": 1000, "sha256": "0" * 64} for part in range(6)]
        checkpoints = [
            {"id": new_id(), "created_at": self.now - timedelta(minutes=place), "run_id": runs[place % len(runs)],
             "step": place, "stage": 2, "attempt": 1, "sha256": new_id() * 2, "size_bytes": 6000, "files": files,
             "archive_sha256": "0" * 64, "val_loss": self.rng.random(), "info": {"archive_size": 6000}}
            for place in range(asked.checkpoints if runs else 0)
        ]  # fmt: skip
        self.add(Checkpoint, checkpoints)
        evaluations = [new_id() for _ in range(asked.evaluations if checkpoints else 0)]
        jobs = [self._job(JobKind.EVALUATE, one) for one in evaluations]
        self.add(Job, jobs)
        report = {"success_rate": 0.5, "success_interval": [0.3, 0.7], "mean_reward": 1.0}
        self.add(
            Evaluation,
            [
                {"id": one, "created_at": self.now - timedelta(minutes=place), "kind": EvaluationKind.CLOSED_LOOP,
                 "checkpoint_id": checkpoints[place % len(checkpoints)]["id"], "settings": {"task": "transfer_cube"},
                 "report": report, "job_id": jobs[place]["id"], "created_by": self.users[0]}
                for place, one in enumerate(evaluations)
            ],
        )  # fmt: skip
        return runs[0] if runs else None

    def _job(self, kind: JobKind, subject: str) -> dict[str, Any]:
        return {
            "id": new_id(), "created_at": self.now, "kind": kind, "title": "a job", "subject_id": subject,
            "payload": {}, "state": JobState.DONE, "attempt": 1, "done": 1, "best": 1, "total": 1, "note": "",
            "attempts_without_progress": 0, "finished_at": self.now, "created_by": self.users[0],
        }  # fmt: skip

    def _values(self, step: int) -> dict[str, float]:
        return {"loss": 1 / (1 + step) + self.rng.random(), "lr": 1e-4, "grad_norm": self.rng.random()}

    def audit(self, entries: int) -> None:
        for first in range(0, entries, 20_000):
            self.add(
                AuditEntry,
                [
                    {"id": new_id(), "created_at": self.now - timedelta(seconds=place), "user_id": self.users[0],
                     "user_name": "annotator 0", "action": "episode.publish", "subject": new_id(), "detail": {}}
                    for place in range(first, min(entries, first + 20_000))
                ],
            )  # fmt: skip


def fill(studio: Studio, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the requests need to know of what is there now."""
    found: dict[str, Any] = {"datasets": {}}
    with studio.db.transaction() as db:
        filling = Filling(db, arguments)
        found["cookie"] = filling.people()
        for size in arguments.sizes:
            found["datasets"][str(size)] = filling.dataset(f"measured {size}", size)
        found["run"] = filling.training()
        filling.audit(arguments.episodes)
    rest = max(0, arguments.episodes - sum(arguments.sizes))
    for number in range(arguments.datasets):
        with studio.db.transaction() as db:
            filling.db = db
            filling.dataset(f"beside {number}", rest // arguments.datasets)
    return found


# --- asking ---------------------------------------------------------------------------------------------------

Request = tuple[str, dict[str, Any] | None]


def of_dataset(dataset: str) -> dict[str, Request]:
    here = f"/api/datasets/{dataset}"
    return {
        "rename preview": (f"{here}/vocabulary/rename/preview", {"old": VOCABULARY[3], "new": "Another text"}),
        "export of labels": (f"{here}/labels", None),
        "export as CSV": (f"{here}/labels?format=csv", None),
        "people": (f"/api/annotators/figures?dataset_id={dataset}", None),
        "coverage": (f"{here}/coverage", None),
        "find all": (f"{here}/segments", None),
        "find by text": (f"{here}/segments?text=Substep%203", None),
        "find by warning": (f"{here}/segments?warning=near_duplicate", None),
        "find short ones": (f"{here}/segments?warning=short", None),
        "agreement": (f"{here}/agreement", None),
        "vocabulary": (f"{here}/vocabulary", None),
        "next work": (f"{here}/work/next", {"count": 100}),
        "review queue": (f"/api/work?queue=review&dataset_id={dataset}", None),
        "episodes": (f"{here}/episodes", None),
    }


def of_all(run: str | None) -> dict[str, Request]:
    found: dict[str, Request] = {
        "all to review": ("/api/work?queue=review", None),
        "datasets": ("/api/datasets", None),
        "runs": ("/api/runs", None),
        "checkpoints": ("/api/checkpoints", None),
        "evaluations": ("/api/evaluations", None),
        "audit": ("/api/audit", None),
        "small request": ("/api/auth/me", None),
    }
    return found | ({} if run is None else {"curve": (f"/api/runs/{run}/metrics?limit=2000", None)})


class Api:
    """One API process and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, cookie: str) -> None:
        self.process, self.port = process, port
        self.headers = {
            "Cookie": f"{SESSION_COOKIE}={cookie}",
            "Origin": f"http://127.0.0.1:{port}",
            "Content-Type": "application/json",
        }

    def cpu_ms(self) -> float:
        """Of all threads, those that ended too: Linux' clock of another process, by its number."""
        return time.clock_gettime(~self.process.pid << 3 | 2) * 1000

    def memory_mb(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def ask(self, request: Request) -> tuple[float, float, int]:
        """(milliseconds, CPU milliseconds, bytes) of an answer."""
        path, body = request
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        worked, began = self.cpu_ms(), time.perf_counter()
        connection.request(
            "GET" if body is None else "POST", path, None if body is None else json.dumps(body), self.headers
        )
        answer = connection.getresponse()
        content = answer.read()
        took = 1000 * (time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:300]!r}")
        connection.close()
        return took, self.cpu_ms() - worked, len(content)

    def measure(self, request: Request, turns: int) -> dict[str, float]:
        first, *others = [self.ask(request) for _ in range(turns + 1)]
        return {
            "first_ms": round(first[0], 1), "first_cpu_ms": round(first[1], 1), "bytes": first[2],
            "p50_ms": round(statistics.median(one[0] for one in others), 1),
            "cpu_ms": round(statistics.median(one[1] for one in others), 1),
            "memory_mb": round(self.memory_mb()),
        }  # fmt: skip


@contextmanager
def api(settings: Settings, cookie: str) -> Iterator[Api]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "backend.app:create_app", "--factory", "--port", str(port)]
    environment = {**os.environ, **settings.environment(), "STUDIO_PORT": str(port)}
    running = subprocess.Popen([*command, "--log-level", "error", "--no-access-log"], env=environment)
    try:
        found = Api(running, port, cookie)
        for _ in range(1200):
            try:
                found.ask(("/api/auth/me", None))
                break
            except OSError:
                if running.poll() is not None:
                    raise SystemExit("the server did not start") from None
                time.sleep(0.1)
        yield found
    finally:
        running.terminate()
        running.wait(60)


def growth(sizes: list[int], figures: list[float]) -> float | None:
    """Slope of the line through the logarithms; under 5 ms nothing can be told from noise."""
    if len(sizes) < 2 or max(figures) < 5:
        return None
    slope = statistics.linear_regression([math.log(size) for size in sizes], [math.log(max(f, 0.1)) for f in figures])
    return round(slope.slope, 2)


def filled_studio(
    folder: Path, arguments: argparse.Namespace, database_url: str | None = None
) -> tuple[Settings, dict[str, Any], float]:
    """(its settings, what `fill` said, CPU seconds of the filling); what is in the folder already is taken."""
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder / 'nobody.sock'}", database_url=database_url)
    known = folder / "known.json"
    took = 0.0
    settings.folder.prepare()
    studio = Studio.open(settings)
    migrate(studio.db)
    if not known.is_file():
        began = time.process_time()
        write_json(known, fill(studio, arguments))
        took = time.process_time() - began
        if database_url is not None:
            with studio.db.engine.connect() as connection:
                connection.exec_driver_sql("ANALYZE")
                connection.commit()
    studio.close()
    return settings, json.loads(known.read_text()), took


def measure(folder: Path, arguments: argparse.Namespace, database_url: str | None) -> dict[str, Any]:
    settings, there, took = filled_studio(folder, arguments, database_url)
    wanted = set(arguments.only or [])
    found: dict[str, Any] = {}
    with api(settings, there["cookie"]) as server:
        for name, request in of_all(there["run"]).items():
            if not wanted or name in wanted:
                found[name] = {"": server.measure(request, arguments.turns)}
        for size in arguments.sizes:
            for name, request in of_dataset(there["datasets"][str(size)]).items():
                if not wanted or name in wanted:
                    found.setdefault(name, {})[str(size)] = server.measure(request, arguments.turns)
    for row in found.values():
        if "" not in row:
            row["growth"] = growth(arguments.sizes, [row[str(size)]["cpu_ms"] for size in arguments.sizes])
    return {"filled_cpu_seconds": round(took, 1), "requests": found}


def report(found: dict[str, Any], sizes: list[int]) -> None:
    print(f"{'':18}" + "".join(f"{size:>34}" for size in sizes) + "   grows")
    for name, row in found["requests"].items():
        goal, cells = GOALS_MS.get(name, GOAL_MS), []
        for one in (row[key] for key in ("", *map(str, sizes)) if key in row):
            late = "!" if one["p50_ms"] > goal else " "
            first = f"{one['first_ms']:.0f} ({one['first_cpu_ms']:.0f})"
            cells.append(f"{first:>16} {one['p50_ms']:.0f} ({one['cpu_ms']:.0f}){late}".rjust(34))
        print(f"{name:18}" + "".join(cells) + (f"   {row['growth']}" if row.get("growth") is not None else ""))


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Of what a studio is filled with."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[1400, 10_000, 20_000])
    numbers = {"episodes": 100_000, "datasets": 47, "segments": 12, "runs": 300, "points": 100_000, "turns": 5}
    for name, value in {**numbers, "checkpoints": 2000, "evaluations": 500, "annotators": 50}.items():
        parser.add_argument(f"--{name}", type=int, default=value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    add_sizes(parser)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        url = None
        if arguments.postgresql:
            port = stack.enter_context(postgresql(folder))
            url = f"postgresql+psycopg://studio:secret@127.0.0.1:{port}/studio"
        found = measure(folder, arguments, url)
    report(found, arguments.sizes)
    if arguments.json:
        write_json(arguments.json, {"sizes": arguments.sizes, "episodes": arguments.episodes, **found})


if __name__ == "__main__":
    main()
