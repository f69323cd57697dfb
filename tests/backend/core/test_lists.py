"""What the lists of the page are searched, filtered and sorted by, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.checkpoints import repository as checkpoints
from backend.checkpoints.schemas import CheckpointsIn
from backend.core import paging
from backend.core.db import Database, new_id, utc_now
from backend.core.roles import Role
from backend.episodes import listing as episodes
from backend.episodes.schemas import EpisodesIn
from backend.evaluations import repository as evaluations
from backend.evaluations.schemas import EvaluationsIn
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobKind, JobState
from backend.tables.metric_point import MetricPoint
from backend.tables.run import Run
from backend.tables.user import User
from backend.training import repository as runs
from backend.training.schemas import RunsIn
from tests.support.people import SignIn

NOW = utc_now()


def job(db: Session, kind: JobKind, state: JobState) -> str:
    held: dict[str, Any] = {"owner": "a worker", "lease_until": 0.0} if state is JobState.RUNNING else {}
    row = Job(id=new_id(), kind=kind, title="a job", payload={}, state=state, attempt=1, note="", **held)
    db.add(row)
    db.flush()
    return row.id


def fill(db: Session) -> None:
    """Runs a to d, the last the newest; a and c train on cubes, b on balls; c runs."""
    ada = User(id=new_id(), name="ada", password_hash="", role=Role.OPERATOR)
    db.add(ada)
    db.flush()
    versions = {}
    for name in ("Red cubes", "balls"):
        dataset = Dataset(id=new_id(), name=name)
        db.add(dataset)
        db.flush()
        version = DatasetVersion(
            id=new_id(),
            dataset_id=dataset.id,
            number=1,
            manifest_sha256="0" * 64,
            episode_ids=[],
            episodes=0,
            steps=0,
            labelled_steps=0,
            cameras=[],
            action_dim=1,
            state_dim=1,
        )
        db.add(version)
        versions[name] = version.id
    db.flush()
    for place, (name, data, state, loss) in enumerate(
        [("a", "Red cubes", JobState.DONE, 0.3), ("B", "balls", JobState.FAILED, None),
         ("c", "Red cubes", JobState.RUNNING, 0.1), ("d", None, JobState.DONE, 0.2)]
    ):  # fmt: skip
        run = Run(
            id=new_id(), name=f"{name} run", stage=2 + place % 2, preset="tiny" if place else None, spec={}, request={},
            sources=[] if data is None else [{"version_id": versions[data], "weight": 1.0}],
            origin={"base_model": {"kind": "backbone", "id": "m", "name": "Qwen"}} if name == "d" else {},
            job_id=job(db, JobKind.TRAIN, state), created_by=ada.id if name == "a" else None,
            created_at=NOW + timedelta(minutes=place),
        )  # fmt: skip
        db.add(run)
        db.flush()
        if loss is not None:
            db.add(MetricPoint(run_id=run.id, step=1, attempt=1, values={"loss": 9 - loss}))
            db.add(MetricPoint(run_id=run.id, step=2, attempt=1, values={"loss": loss}))
            db.add(MetricPoint(run_id=run.id, step=3, attempt=1, values={"val_loss": 5.0}))
        for step in range(1, 1 + place):
            db.add(
                Checkpoint(
                    id=new_id(), run_id=run.id, step=10 * step, stage=run.stage, attempt=1, sha256="0" * 64,
                    size_bytes=100 * place, files=[], archive_sha256="0" * 64, info={}, created_at=NOW,
                    deleted_at=NOW if step == 3 else None,
                )
            )  # fmt: skip
    db.flush()


def names(db: Session, **asked: Any) -> str:
    """The first letters of the runs' names."""
    found: str = "".join(row.name[0] for row in runs.page(db, RunsIn(**asked))[0])
    return found


def test_runs(database: Database) -> None:
    with database.transaction() as db:
        fill(db)
        assert names(db, sort="active") == "cdBa"
        assert names(db, sort="active", descending=False) == "caBd"
        assert names(db, sort="name", descending=False) == "aBcd"
        assert names(db, sort="loss", descending=False) == "cdaB"  # the last that was logged; none comes last
        assert names(db, sort="loss") == "adcB"
        assert names(db, sort="checkpoints") in {"dcBa", "cdBa"}
        assert names(db, search="CUBES") == "ca"
        assert names(db, search="ada") == "a"
        assert names(db, search="qwen tiny") == "d"
        assert names(db, search="cubes running") == "c"
        assert names(db, search="cubes balls") == ""
        assert names(db, state=["failed", "cancelled"]) == "B"
        assert names(db, over=False) == "c"
        some = runs.page(db, RunsIn(search="balls"))[0] + runs.page(db, RunsIn(search="qwen"))[0]
        assert names(db, id=[row.id for row in some]) == "dB"


def test_checkpoints(database: Database) -> None:
    with database.transaction() as db:
        fill(db)

        def found(**asked: Any) -> list[str]:
            rows = checkpoints.page(db, CheckpointsIn(**asked))[0]
            return [f"{run.name[0]}{row.step}" for row, run in rows]

        assert found(sort="run", descending=False) == ["B10", "c10", "c20", "d10", "d20"]
        assert found(sort="run") == ["d20", "d10", "c20", "c10", "B10"]
        assert found(search="cubes", sort="step") == ["c20", "c10"]
        assert found(search="run step 20", sort="run") == ["d20", "c20"]
        assert found(deleted=True, sort="step")[0] == "d30"
        assert checkpoints.size_bytes(db, CheckpointsIn(deleted=True)) == 100 + 2 * 200 + 2 * 300
        assert checkpoints.size_bytes(db, CheckpointsIn(search="balls")) == 100
        assert checkpoints.size_bytes(db, CheckpointsIn(search="nothing like it")) == 0


def test_evaluations(database: Database) -> None:
    with database.transaction() as db:
        fill(db)
        first = checkpoints.page(db, CheckpointsIn(sort="run", descending=False))[0]
        said: list[tuple[EvaluationKind, dict[str, Any] | None, JobState]] = [
            (EvaluationKind.CLOSED_LOOP, {"success_rate": 0.5}, JobState.DONE),
            (EvaluationKind.OPEN_LOOP, {"error_of_range": [0.1, 0.3]}, JobState.DONE),
            (EvaluationKind.OPEN_LOOP, {"error_of_range": [0.1, 0.1]}, JobState.DONE),
            (EvaluationKind.CLOSED_LOOP, {"success_rate": 1.0}, JobState.DONE),
            (EvaluationKind.CLOSED_LOOP, None, JobState.QUEUED),
        ]
        for place, (kind, report, state) in enumerate(said):
            db.add(
                Evaluation(
                    id=str(place), kind=kind, checkpoint_id=first[place][0].id, settings={}, report=report,
                    job_id=job(db, JobKind.EVALUATE, state), created_at=NOW - timedelta(minutes=5 - place),
                )
            )  # fmt: skip
        db.flush()

        def found(**asked: Any) -> str:
            return "".join(row[0].id for row in evaluations.page(db, EvaluationsIn(**asked))[0])

        assert found(sort="result") == "30214"  # a smaller error is better; none comes last
        assert found(sort="result", descending=False) == "12034"
        assert found(sort="active") == "43210"
        assert found(sort="active", descending=False) == "40123"
        assert found(sort="run", descending=False) == "01234"
        assert found(search="c run step 20") == "2"
        assert found(state="queued") == "4"
        assert found(id=["1", "4", "9"]) == "41"


@pytest.mark.parametrize("limit", [2, 100])
def test_episodes(database: Database, limit: int) -> None:
    with database.transaction() as db:
        dataset = Dataset(id=new_id(), name="cubes")
        db.add(dataset)
        db.flush()
        said = [
            (True, LabelState.PUBLISHED, "lift", EpisodeSource.LIVE, 30),
            (False, LabelState.DRAFT, "Place", EpisodeSource.UPLOADED, 10),
            (None, LabelState.UNLABELLED, "lift", EpisodeSource.IMPORTED, 20),
            (True, LabelState.DRAFT, "carry", EpisodeSource.RECORDED, 40),
        ]
        for number, (success, state, instruction, source, size) in enumerate(said):
            db.add(
                EpisodeRow(
                    id=str(number), dataset_id=dataset.id, number=number, identity=str(number), steps=10, action_dim=1,
                    state_dim=1, cameras=[], sim=True, size_bytes=size, source=source, guesses=[], tags=[],
                    instruction=instruction, success=success, label_state=state,
                )
            )  # fmt: skip
        db.flush()

        def found(**asked: Any) -> str:
            cursor, ids = None, ""
            while True:
                rows, cursor, _ = episodes.page(db, dataset.id, EpisodesIn(cursor=cursor, limit=limit, **asked))
                ids += "".join(row.id for row in rows)
                if cursor is None:
                    return ids

        assert found(sort="success") == "1032"
        assert found(sort="success", descending=True) == "3012"
        assert found(sort="labels") == "2130"
        assert found(sort="labels", descending=True) == "0312"
        assert found(sort="instruction") == "3021"
        assert found(sort="source") == "2031"
        assert found(sort="size") == "1203"
        assert found(id=["3", "1", "9"]) == "13"


def test_a_list_that_is_cut_says_where_all_of_it_is(
    client: SignIn, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with studio.db.transaction() as db:
        fill(db)
        checkpoint = db.scalars(select(Checkpoint.id).where(Checkpoint.deleted_at.is_(None))).first()
        measured = job(db, JobKind.EVALUATE, JobState.DONE)
        db.add(Evaluation(kind=EvaluationKind.CLOSED_LOOP, checkpoint_id=checkpoint, job_id=measured, settings={}))
    browser = client("viewer")
    there = {"runs": 4, "checkpoints": 5, "evaluations": 1}
    for kind, count in there.items():
        whole = browser.get(f"/api/{kind}")
        assert (len(whole.json()), whole.headers.get("link")) == (count, None)
    monkeypatch.setattr(paging, "MOST_AT_ONCE", 1)
    for kind in there:
        cut = browser.get(f"/api/{kind}")
        assert len(cut.json()) == 1
        assert cut.headers["link"].startswith(f"</api/{kind}/page>")
        assert browser.get(f"/api/{kind}/page").json()["total"] == there[kind]
