"""Versions, runs and checkpoints whose rows a database has lost get them again, as far as their files tell."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backend.core.db import new_id
from backend.intake.accept import accept
from backend.storage import service
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.job import Job, JobState
from backend.tables.label_history import LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.metric_point import MetricPoint
from backend.tables.proposal import Proposal
from backend.tables.run import Run
from backend.training.schemas import RunIn
from backend.versions import service as versions
from backend.versions.schemas import VersionIn
from dexvla.spec import TrainSpec
from tests.support.labelling_data import ok, save
from tests.support.people import SignIn
from tests.support.training_data import ME, SMALL, start
from worker.admin.verify import look_around

MakeEpisode = Callable[..., Path]
STEPS = (2, 4, 6)


class Trained:
    """A dataset of two episodes, a version of it, a run on that which has saved at STEPS, and a folder of an
    evaluation: all in rows, as the studio makes them, until `forget`."""

    def __init__(self, studio: Studio, base_model: Path, make_episode: MakeEpisode, folder: Path) -> None:
        self.studio, self.folder = studio, studio.settings.folder
        with studio.db.transaction() as db:
            dataset = Dataset(name="cubes")
            db.add(dataset)
            db.add(RegisteredModel(name="Tiny", kind=ModelKind.BACKBONE, path=str(base_model), size_bytes=1))
            self.model_id = db.query(RegisteredModel).one().id
        for seed in range(2):
            file = make_episode(folder / f"{seed}.hdf5", seed=seed)
            accept(studio, dataset_id=dataset.id, file=file, source=EpisodeSource.UPLOADED)
        with studio.db.transaction() as db:
            body = VersionIn(include_unlabelled=True)
            self.version_id = versions.create(db, ME, studio, dataset.id, body)[0].id
        self.dataset_id = dataset.id
        sources = [{"version_id": self.version_id, "weight": 2.0}]
        fields = {**SMALL, "steps": STEPS[-1]}
        asked = {"name": "pick cube", "stage": 2, "preset": "tiny", "sources": sources, "fields": fields}
        self.run_id, self.job_id = start(studio, RunIn.model_validate({**asked, "base_model_id": self.model_id}))
        self.run = self.folder.run(self.run_id)
        with studio.db.transaction(write=False) as db:
            spec = TrainSpec.model_validate(db.get_one(Run, self.run_id).spec)
        (self.run / "checkpoints").mkdir(parents=True)
        (self.run / "run.json").write_text(spec.model_dump_json())
        points = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, STEPS[-1] + 1)]
        (self.run / "metrics.jsonl").write_text("\n".join([*points, ""]))
        for step in STEPS:
            self.save(step)
        log = self.folder.job(self.job_id) / "log.txt"
        log.parent.mkdir()
        log.write_text(f"the policy is in {self.run}/checkpoints/step-0000006\nthe end\n")
        (self.folder.evaluation(new_id())).mkdir()

    def save(self, step: int) -> Path:
        place = self.run / "checkpoints" / f"step-{step:07d}"
        place.mkdir()
        contents = {"config.json": b"{}", "model.safetensors": bytes([step]) * 5000}
        files = {}
        for name, content in contents.items():
            (place / name).write_bytes(content)
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"stage": 2, "created": "2026-01-02T03:04:05+00:00", "files": files, "episodes": ["a"]}
        (place / "manifest.json").write_text(json.dumps(manifest))
        return place

    def forget(self, *tables: type[Any]) -> None:
        """As a database does that lost its newest rows."""
        with closing(sqlite3.connect(self.folder.database)) as connection, connection:
            for table in tables:
                connection.execute(f"DELETE FROM {table.__tablename__}")

    def adopt(self) -> str:
        return service.adopt(self.studio, None, fresh_seconds=0)

    def told(self) -> str | None:
        return service.sentence(service.look(self.studio, fresh_seconds=0)[0])


@pytest.fixture
def trained(studio: Studio, base_model: Path, make_episode: MakeEpisode, tmp_path: Path) -> Trained:
    return Trained(studio, base_model, make_episode, tmp_path)


def test_a_version_and_a_run_that_lost_their_rows_are_as_they_were(trained: Trained, client: SignIn) -> None:
    admin = client("admin")
    before = admin.get(f"/api/runs/{trained.run_id}").json()
    trained.forget(Checkpoint, Run, Job, DatasetVersion)
    lines = [line for line in look_around(trained.studio.settings) if not line.startswith("Look here: ")]
    assert lines[0].startswith(
        "1 dataset version folder, 1 run folder, 1 evaluation folder and 1 job folder have no row: adopt or move"
    )
    assert lines[1:] == [
        f"  versions/{trained.version_id} (2 episodes of cubes)",
        f"  runs/{trained.run_id} (pick-cube, stage 2, checkpoints of steps 2, 4, 6)",
        f"  {next(trained.folder.evaluations.iterdir()).relative_to(trained.folder.root)} (0 files, 0 of them videos)",
        f"  jobs/{trained.job_id} (its log ends with: the end)",
    ]
    assert trained.adopt() == "1 of 1 dataset version folder; 1 of 1 run folder."
    assert trained.told() == "1 evaluation folder has no row", "which only says what it was of in its row"
    after = admin.get(f"/api/runs/{trained.run_id}").json()
    lost = {"name", "request", "preset", "created_at", "created_by", "created_by_name", "job"}
    grown = {"latest", "checkpoints", "last_step"}  # what the trainer did after it was started
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= lost | grown
    assert after["latest"]["loss"] == pytest.approx(1 / 6)
    assert admin.get(f"/api/jobs/{trained.job_id}").json()["state"] == "done"
    assert "the policy is in" in admin.get(f"/api/jobs/{trained.job_id}/log").json()["text"]
    with trained.studio.db.transaction(write=False) as db:
        (version,) = db.query(DatasetVersion)
        assert (version.id, version.dataset_id, version.number) == (trained.version_id, trained.dataset_id, 1)
        assert version.episode_ids == [row.id for row in db.query(EpisodeRow).order_by(EpisodeRow.number)]
        run = db.get_one(Run, trained.run_id)
        assert run.sources == [{"version_id": trained.version_id, "weight": 2.0}]
        assert run.base_model_id == trained.model_id
        assert [point.step for point in db.query(MetricPoint).order_by(MetricPoint.step)] == list(range(1, 7))
        rows = db.query(Checkpoint).order_by(Checkpoint.step).all()
        assert [row.step for row in rows] == list(STEPS)
    archive = admin.get(f"/api/checkpoints/{rows[0].id}/archive")
    assert archive.status_code == 200
    assert hashlib.sha256(archive.content).hexdigest() == rows[0].archive_sha256
    with trained.studio.db.transaction() as db:
        body = VersionIn(include_unlabelled=True)
        again, new = versions.create(db, ME, trained.studio, trained.dataset_id, body)
    assert (again.id, new) == (trained.version_id, False), "the same data are the same version"


def test_a_version_of_adopted_episodes_follows_them(trained: Trained) -> None:
    """All rows are gone: the episodes come back under other ids and in another dataset."""
    trained.forget(Checkpoint, Run, Job, DatasetVersion, EpisodeRow, Dataset)
    told = trained.adopt()
    assert told.startswith("2 of 2 episode files are in the dataset Recovered; 1 of 1 dataset version folder"), told
    manifest = json.loads(trained.folder.manifest(trained.version_id).read_bytes())
    with trained.studio.db.transaction(write=False) as db:
        version = db.get_one(DatasetVersion, trained.version_id)
        assert db.get_one(Dataset, version.dataset_id).name == "Recovered"
        paths = [trained.folder.episode(version.dataset_id, one) for one in version.episode_ids]
    listed = [trained.folder.manifest(trained.version_id).parent / entry["path"] for entry in manifest["episodes"]]
    assert [path.resolve() for path in listed] == [path.resolve() for path in paths]
    assert all(path.is_file() for path in paths)


def test_published_labels_come_back_from_the_manifest(trained: Trained, client: SignIn) -> None:
    """Files keep what their intake brought: what people published is in rows, and in the versions that embed it."""
    ada = client("annotator")
    with trained.studio.db.transaction(write=False) as db:
        first, second = (row.id for row in db.query(EpisodeRow).order_by(EpisodeRow.number))
    for episode, text in ((first, "Fetch it"), (second, "Fetch the other")):
        said = ok(save(ada, f"/api/episodes/{episode}", (0, 24, text), success=False, instruction="Fetch"))
        assert ada.post(f"/api/episodes/{episode}/publish", json={"edit": said["edit"]}).status_code == 201
    with trained.studio.db.transaction() as db:
        newer = versions.create(db, ME, trained.studio, trained.dataset_id, VersionIn())[0].id
    rows = (Checkpoint, Run, Job, DatasetVersion, EpisodeRow, Dataset, Draft, LabelHistory, LabelRevision, Proposal)
    trained.forget(*rows)
    shutil.rmtree(trained.folder.manifest(trained.version_id).parent)
    assert "1 of 1 dataset version folder" in trained.adopt()
    with trained.studio.db.transaction(write=False) as db:
        ids = db.get_one(DatasetVersion, newer).episode_ids
    for episode, text in zip(ids, ("Fetch it", "Fetch the other"), strict=True):
        draft = ok(ada.get(f"/api/episodes/{episode}/draft"))
        assert (draft["edit"], draft["published"], draft["instruction"], draft["success"]) == (0, None, "Fetch", False)
        assert [(one["text"], one["provenance"]) for one in draft["segments"]] == [(text, "human")]
        found = ok(ada.get(f"/api/episodes/{episode}/proposals"))
        assert sorted(one["source"] for one in found) == ["imported", "scripted"], "the manifest's and the file's"


def test_labels_that_somebody_made_since_stay(trained: Trained, client: SignIn) -> None:
    ada = client("annotator")
    with trained.studio.db.transaction(write=False) as db:
        first, second = (row.id for row in db.query(EpisodeRow).order_by(EpisodeRow.number))
    for text in ("Before", "Since"):
        said = ok(save(ada, f"/api/episodes/{first}", (0, 24, text)))
        assert ada.post(f"/api/episodes/{first}/publish", json={"edit": said["edit"]}).status_code == 201
        if text == "Before":
            with trained.studio.db.transaction() as db:
                versions.create(db, ME, trained.studio, trained.dataset_id, VersionIn(include_unlabelled=True))
    before = ok(ada.get(f"/api/episodes/{second}/draft"))
    trained.forget(DatasetVersion)
    assert "2 of 2 dataset version folder" in trained.adopt()
    draft = ok(ada.get(f"/api/episodes/{first}/draft"))
    assert [one["text"] for one in (*draft["segments"], *draft["published"]["segments"])] == ["Since", "Since"]
    assert ok(ada.get(f"/api/episodes/{second}/draft")) == before


def test_a_version_whose_episodes_are_not_here_stays_and_says_so(trained: Trained) -> None:
    trained.forget(Checkpoint, Run, Job, DatasetVersion)
    kept = next(trained.folder.episodes.glob("*/*.hdf5"))
    trained.forget(EpisodeRow)
    (trained.folder.lost).mkdir()
    for path in trained.folder.episodes.glob("*/*.hdf5"):
        if path != kept:
            path.rename(trained.folder.lost / path.name)
    told = trained.adopt()
    assert told.startswith("1 of 1 episode files are in the dataset Recovered"), told
    assert f"0 of 1 dataset version folder; not dataset version {trained.version_id[:8]}, since 1 of its 2" in told
    assert trained.folder.manifest(trained.version_id).is_file()
    assert "1 dataset version folder" in (trained.told() or "")


def test_a_checkpoint_of_a_run_that_is_here_is_adopted_unless_it_is_damaged(trained: Trained) -> None:
    with trained.studio.db.transaction() as db:
        job = db.get_one(Job, trained.job_id)
        assert "checkpoint" not in (trained.told() or ""), "the job that is not over writes these rows itself"
        job.state = JobState.CANCELLED
    assert "3 checkpoint folders" in (trained.told() or "")
    weights = trained.run / "checkpoints/step-0000004/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    told = trained.adopt()
    assert told.startswith("2 of 3 checkpoint folders; not checkpoint step-000, since the checkpoint of step 4"), told
    with trained.studio.db.transaction(write=False) as db:
        assert [row.step for row in db.query(Checkpoint).order_by(Checkpoint.step)] == [2, 6]
    assert "1 checkpoint folder" in (trained.told() or "")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda run: (run / "run.json").write_text("{"), "run.json is none of a training"),
        (lambda run: (run / "run.json").unlink(), "run.json cannot be read"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "it has saved no checkpoint"),
    ],
)
def test_a_run_that_says_too_little_stays(trained: Trained, damage: Callable[[Path], object], why: str) -> None:
    trained.forget(Checkpoint, Run, Job)
    damage(trained.run)
    assert why in trained.adopt()
    assert "1 run folder" in (trained.told() or "")
    with trained.studio.db.transaction(write=False) as db:
        assert db.query(Run).count() == 0
