"""Two machines that share a database, a broker and a store in S3, and no folder: one has the API, the other works."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.base_models import service as models
from backend.base_models.schemas import TinyModelIn
from backend.checkpoints import service as checkpoints
from backend.checkpoints.files import archive_parts, checkpoint_outline
from backend.core.downloads import Content
from backend.core.settings import Settings
from backend.episodes import service as episodes
from backend.evaluations import service as evaluations
from backend.evaluations.schemas import OpenLoopIn
from backend.exports import service as exports
from backend.exports.files import parts_of
from backend.exports.schemas import DestinationIn, DestinationKind, ExportIn
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.export import Export
from backend.tables.job import JobState
from backend.tables.user import User
from backend.training import service as training
from backend.training.schemas import RunIn
from backend.versions import service as versions
from backend.versions.schemas import VersionIn
from dexvla.episodes.reader import open_episode
from tests.support.intake import take
from tests.support.people import PASSWORD_HASH
from tests.support.s3_server import Server
from tests.support.servers import postgresql
from tests.support.team import Team
from tests.support.training_data import SMALL


@pytest.fixture
def machines(s3: Server, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, Team]]:
    """The API's studio, and the worker's machine, on which exports may go to a folder and to S3."""
    place = s3.place()
    store = {"store": place.url, "store_endpoint": place.endpoint, "store_key": place.key, "store_secret": place.secret}
    (tmp_path / "handover").mkdir()
    with postgresql(tmp_path_factory.mktemp("postgresql")) as port:
        url = f"postgresql://studio:secret@127.0.0.1:{port}/studio"
        worker = Team(
            tmp_path / "worker",
            database_url=url,
            export_roots=(tmp_path / "handover",),
            export_targets={"lab": s3.place("lab")},
            **store,
        )
        worker.start_broker()
        redis_url = worker.settings.events_url
        settings = Settings(
            data=tmp_path / "api", database_url=url, redis_url=redis_url, export_roots=(tmp_path / "handover",),
            export_targets={"lab": s3.place("lab")}, **store,
        )  # fmt: skip
        settings.folder.prepare()
        api = Studio.open(settings)
        yield api, worker
        api.close()
        worker.end()


def run(worker: Team, job_id: str) -> None:
    assert worker.runner(job_id).wait(300) == 0, worker.log(job_id)
    assert worker.job(job_id).state is JobState.DONE, worker.log(job_id)


def content(parts: tuple[object, ...]) -> bytes:
    whole = Content(name="", parts=parts, tag="", media_type="")  # type: ignore[arg-type]
    return b"".join(whole.read(0, whole.size))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.hdf5"))


def test_a_worker_without_the_studios_folder_trains_evaluates_and_exports(
    machines: tuple[Studio, Team], make_episode: Callable[..., Path], tmp_path: Path, s3: Server
) -> None:
    api, worker = machines
    with api.db.transaction() as db:
        user = User(name="ada", password_hash=PASSWORD_HASH, role="operator")
        dataset = Dataset(name="cubes")
        db.add_all([user, dataset])
        db.flush()
        me = Actor(id=user.id, name=user.name, role=user.role)
    ids = [take(api, dataset.id, make_episode(tmp_path / f"{seed}.hdf5", seed=seed)) for seed in (1, 2)]
    with api.db.transaction() as db:
        rows = [episodes.find(db, one) for one in ids]
        assert [row.sha256 is not None for row in rows] == [True, True]
        version, _ = versions.create(db, me, api, dataset.id, VersionIn(include_unlabelled=True))
        made = models.make_tiny(db, me, api, TinyModelIn(name="Tiny", preset="tiny"))
    assert files(api.settings.folder.episodes) == [], "they are in the store and in the cache"
    shutil.rmtree(api.settings.folder.store_cache)
    with api.db.transaction(write=False) as db:
        assert episodes.thumbnail(db, api, ids[0], known=None).body[:2] == b"\xff\xd8", "fetched again"

    run(worker, made.id)
    with api.db.transaction(write=False) as db:
        (model,) = models.models(db, api)
        assert model.available
    body = {
        "name": "pick cube", "stage": 2, "preset": "tiny", "base_model_id": model.id,
        "sources": [{"version_id": version.id}], "fields": {**SMALL, "steps": 2, "keep_checkpoints": 1},
    }  # fmt: skip
    with api.db.transaction() as db:
        trained = training.start(db, me, api, RunIn.model_validate(body))
    run(worker, trained.job.id)
    assert not worker.settings.folder.held(trained.job.id).exists()
    with api.db.transaction(write=False) as db:
        assert training.run(db, api, trained.id).preflight is not None
        assert "done" in jobs.log(db, api, trained.job.id, offset=-2000, limit=2000).text
        (saved,) = checkpoints.checkpoints(db, run_id=trained.id, deleted=False)
        row, _ = checkpoints._found(db, saved.id)
    shutil.rmtree(worker.settings.folder.run(trained.id))  # its machine is gone: the store has what counts
    outline = checkpoint_outline(api, row)
    assert json.loads((outline / "config.json").read_bytes())["policy"]["action_dim"] == 14
    weights = outline / "model.safetensors"
    assert weights.stat().st_blocks * 512 < weights.stat().st_size / 2, "a hole, not gigabytes"
    archive = content(archive_parts(api, row, "pick-cube-step-0000002"))
    assert hashlib.sha256(archive).hexdigest() == row.archive_sha256

    with api.db.transaction() as db:
        wanted = OpenLoopIn(kind="open_loop", checkpoint_id=row.id, version_id=version.id, held_out=False)
        evaluation = evaluations.start(db, me, api, wanted)
        archived, landed, sent = (
            exports.create(db, me, api, dataset.id, ExportIn(format="episodes", destination=where))
            for where in (
                DestinationIn(),
                DestinationIn(kind=DestinationKind.FOLDER, name="handover"),
                DestinationIn(kind=DestinationKind.S3, name="lab"),
            )
        )
    run(worker, evaluation.job.id)
    with api.db.transaction(write=False) as db:
        shown = evaluations.evaluation(db, api, evaluation.id)
        assert shown.report is not None
        assert any(name.endswith(".png") for name in shown.files)
    for one in (archived, landed, sent):
        assert one.job is not None
        run(worker, one.job.id)
        assert not worker.settings.folder.export(one.id).exists(), "it takes no room where it was made"
    with api.db.transaction(write=False) as db:
        found = {one.id: one for one in exports.exports(db, api, dataset.id)}
        data = content(parts_of(api, db.get_one(Export, archived.id)))
    assert hashlib.sha256(data).hexdigest() == found[archived.id].sha256
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(Path(name).name for name in tar.getnames() if name.endswith(".hdf5")) == [
            "episode_0.hdf5", "episode_1.hdf5",
        ]  # fmt: skip
    name = found[landed.id].destination.landed
    assert name is not None
    assert files(tmp_path / "handover" / name) == ["episode_0.hdf5", "episode_1.hdf5"]
    with open_episode(tmp_path / "handover" / name / "episode_1.hdf5") as episode:
        assert episode.steps == rows[1].steps
    listed = [one["path"] for chunk in s3.client(s3.place("lab")).list() for one in chunk]
    there = f"{found[sent.id].destination.landed}/"
    assert sorted(one.removeprefix(there) for one in listed) == ["episode_0.hdf5", "episode_1.hdf5", "export.json"]

    with api.db.transaction() as db:
        exports.delete(db, me, api, dataset.id, archived.id)
        checkpoints.delete(db, me, api, row.id)
    assert [one.key for one in api.store.list("exports")] == []
    assert [one.key for one in api.store.list(f"runs/{trained.id}/checkpoints")] == []
    assert len(list(api.store.list("episodes"))) == 2
