"""No path of the server reaches anybody below admin; files on the disk are the studio's account's alone."""

import json
import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from backend.app import create_app
from backend.core.db import new_id
from backend.core.folders import DataFolder
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.intake.accept import accept
from backend.studio.context import Studio
from backend.studio.events import publish
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeSource
from backend.tables.evaluation import Evaluation
from backend.tables.job import Job, JobKind, JobState
from backend.web.hidden_paths import HiddenPaths
from tests.support.fuzzing import call, operations
from tests.support.training_data import make_version, stage_2, start

pytestmark = pytest.mark.slow

SignIn = Callable[[str], TestClient]


@pytest.fixture
def ids(studio: Studio, tmp_path: Path, make_episode: Callable[..., Path], base_model: Path) -> dict[str, str]:
    """An episode, and what can go wrong with it; folders below both roots; a job that failed with a path."""
    with studio.db.transaction() as db:
        dataset = Dataset(id=new_id(), name="cubes")
        job = Job(kind=JobKind.TRAIN, title="Train", payload={}, state=JobState.FAILED)
        job.cause = f"{studio.settings.data}/runs/1/run.json: damaged"
        db.add_all([dataset, job])
        db.flush()
        found = {"dataset": dataset.id, "job": job.id}
    file = make_episode(tmp_path / "a.hdf5")
    make_episode(studio.settings.import_roots[0] / "day" / "b.hdf5")
    os.symlink(base_model, studio.settings.model_roots[0] / "outside")
    found["episode"] = accept(studio, dataset_id=found["dataset"], file=file, source=EpisodeSource.UPLOADED).episode_id
    return found


def places(settings: Settings) -> list[str]:
    return [str(settings.data), *map(str, settings.import_roots), *map(str, settings.model_roots)]


def test_nobody_below_admin_is_told_where_things_lie(
    app: FastAPI, client: SignIn, studio: Studio, ids: dict[str, str]
) -> None:
    """Every GET of the API, with an episode whose file is damaged, and then gone."""
    path = studio.settings.folder.episode(ids["dataset"], ids["episode"])
    seen: dict[str, int] = {}
    for damaged in (True, False):
        if damaged:
            path.write_bytes(b"no HDF5")
        else:
            path.unlink()
        for role in ("annotator", "operator"):
            for url in gets(app, ids):
                answer = client(role).get(url)
                seen[url] = max(seen.get(url, 0), answer.status_code)
                for place in places(studio.settings):
                    assert place not in answer.text, f"{role}: {url} says {answer.text[:500]}"
    assert max(seen.values()) < 500, {url: status for url, status in seen.items() if status >= 500}
    assert sum(status == 422 for status in seen.values()) > 2, "the damaged file was met"


def gets(app: FastAPI, ids: dict[str, str]) -> list[str]:
    """Every address that is read, with known ids where the name says which."""
    urls = []
    for route, methods in app.openapi()["paths"].items():
        if "get" not in methods:
            continue
        url = route
        for name, value in {
            "{episode_id}": ids["episode"], "{dataset_id}": ids["dataset"], "{job_id}": ids["job"],
            "{camera}": "cam_high", "{step}": "0",
        }.items():  # fmt: skip
            url = url.replace(name, value)
        while "{" in url:
            url = url[: url.index("{")] + "nothing" + url[url.index("}") + 1 :]
        urls.append(url + ("?start=0" if url.endswith("/pack") else ""))
    return urls


@pytest.fixture
def spoken(studio: Studio, ids: dict[str, str], make_episode: Callable[..., Path], base_model: Path) -> dict[str, str]:
    """More to ask for, with paths of the server in it: a version, a run of it with a spec, an evaluation with a report
    and details, a checkpoint."""
    folder = studio.settings.folder
    version = make_version(studio, make_episode, count=1)
    run, job = start(studio, stage_2(studio, base_model, make_episode))
    log = folder.job(job) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(f"{folder.root}/runs/{run}/run.json: damaged")
    with studio.db.transaction() as db:
        db.get_one(Job, job).cause = f"{folder.root}/runs: damaged"
        facts = {"stage": 2, "attempt": 1, "sha256": "0" * 64, "size_bytes": 0, "files": [], "archive_sha256": "0" * 64}
        checkpoint = Checkpoint(run_id=run, step=2, info={"mtime": 0, "archive_size": 0}, **facts)
        asked = Job(kind=JobKind.EVALUATE, title="Evaluate", payload={}, state=JobState.DONE)
        db.add_all([checkpoint, asked])
        db.flush()
        report = {"success_rate": 0.5, "notes": [f"{folder.root}/runs/{run}"]}
        evaluation = Evaluation(
            kind="closed_loop", checkpoint_id=checkpoint.id, settings={}, report=report, job_id=asked.id
        )
        db.add(evaluation)
        db.flush()
        details = folder.evaluation(evaluation.id) / "details.json"
        details.parent.mkdir(parents=True)
        details.write_text(json.dumps({"checkpoint": str(folder.root / "runs" / run)}))
        return {
            **ids, "version_id": version, "run_id": run, "checkpoint_id": checkpoint.id, "training": job,
            "evaluation_id": evaluation.id, "name": "details.json",
        }  # fmt: skip


def test_what_is_downloaded_as_text_names_no_place_either(
    client: SignIn, studio: Studio, spoken: dict[str, str]
) -> None:
    urls = [
        f"/api/runs/{spoken['run_id']}/spec.yaml",
        f"/api/evaluations/{spoken['evaluation_id']}/files/details.json",
        f"/api/jobs/{spoken['training']}/log",
    ]
    for url in urls:
        whole, hidden = client("admin").get(url), client("operator").get(url)
        assert (whole.status_code, hidden.status_code) == (200, 200), f"{url}: {whole.text[:300]}"
        assert str(studio.settings.data) in whole.text, f"{url} has no path to hide"
        assert str(studio.settings.data) not in hidden.text
        assert "$STUDIO_DATA" in hidden.text
    place = hidden_place = ""
    for start_byte in range(0, 200, 7):  # no range brings it out in pieces
        asked = {"Range": f"bytes={start_byte}-{start_byte + 6}"}
        answer = client("operator").get(urls[1], headers=asked)
        place += answer.text if answer.status_code == 206 else ""
        hidden_place = answer.text
    assert str(studio.settings.data) not in place + hidden_place
    assert client("admin").get(urls[1], headers={"Range": "bytes=0-4"}).status_code == 206


def test_an_error_names_folders_by_what_they_are(client: SignIn, studio: Studio, ids: dict[str, str]) -> None:
    studio.settings.folder.episode(ids["dataset"], ids["episode"]).write_bytes(b"no HDF5")
    url = f"/api/episodes/{ids['episode']}/motion"
    hidden, whole = (client(role).get(url).json()["error"]["message"] for role in ("annotator", "admin"))
    assert hidden.startswith("$STUDIO_DATA/episodes/")
    assert whole.startswith(f"{studio.settings.data}/episodes/")
    assert hidden.removeprefix("$STUDIO_DATA") == whole.removeprefix(str(studio.settings.data))


def test_a_jobs_cause_and_log_too(client: SignIn, studio: Studio, ids: dict[str, str]) -> None:
    folder = studio.settings.folder.job(ids["job"])
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"Traceback\n  File {studio.settings.data}/runs/1/run.json\n")
    log = client("operator").get(f"/api/jobs/{ids['job']}/log").text
    assert "$STUDIO_DATA/runs/1/run.json" in log
    assert str(studio.settings.data) not in log
    job = client("operator").get(f"/api/jobs/{ids['job']}")
    assert "$STUDIO_DATA/runs/1/run.json: damaged" in job.text
    assert str(studio.settings.data) in client("admin").get(f"/api/jobs/{ids['job']}").text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/data/episodes/1.hdf5: damaged", "$STUDIO_DATA/episodes/1.hdf5: damaged"),
        ('{"a": "/data"}', '{"a": "$STUDIO_DATA"}'),
        ("sqlite:////data/studio.db", "sqlite:///$STUDIO_DATA/studio.db"),
        ("see /data.", "see $STUDIO_DATA."),
        ("GET /api/datasets and /api/data", "GET /api/datasets and /api/data"),
        ("/data-2/x and /database", "/data-2/x and /database"),
        ("/imports/cam/1.hdf5", "(imports)/cam/1.hdf5"),
    ],
)
def test_only_whole_paths_are_meant(said: str, told: str) -> None:
    settings = Settings(data=Path("/data"), import_roots=(Path("/imports"),))
    assert HiddenPaths(FastAPI(), settings=settings).hide(said.encode()).decode() == told


def test_the_page_is_served_as_it_was_built(tmp_path: Path, settings: Settings) -> None:
    """Its addresses may be spelt as a folder of the server is: docker-compose.yml has model roots in /models."""
    script = b'{to:"/models",at:"/data"}'
    built = {"index.html": b'<a href="/models">', "icon.svg": b"<svg/>", "assets/index.js": script}
    for name, content in built.items():
        (tmp_path / "page" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "page" / name).write_bytes(content)
    change = {"page": tmp_path / "page", "model_roots": (Path("/models"),)}
    app = create_app(settings.model_copy(update=change))
    browser = TestClient(app)  # the page needs nothing that is started
    for name, content in built.items():
        assert browser.get(f"/{name}").content == content
    assert browser.get("/models").content == built["index.html"]


@pytest.mark.parametrize(("role", "hidden"), [(Role.ADMIN, False), (Role.OPERATOR, True)])
def test_sockets_are_gone_through_too(settings: Settings, role: Role, hidden: bool) -> None:
    inner = FastAPI()

    @inner.websocket("/socket")
    async def talk(socket: WebSocket) -> None:
        socket.state.actor = type("Actor", (), {"role": role})()
        await socket.accept()
        await socket.send_text(json.dumps({"fault": f"{settings.data}/robots/a.json cannot be read"}))
        await socket.send_bytes(str(settings.data).encode())

    inner.add_middleware(HiddenPaths, settings=settings)
    with TestClient(inner).websocket_connect("/socket") as socket:
        text, data = socket.receive_text(), socket.receive_bytes()
    assert (str(settings.data) not in text) == hidden
    assert data == str(settings.data).encode(), "images are not text"


def test_no_answer_and_no_event_to_anything_that_is_sent_names_a_place(
    app: FastAPI, client: SignIn, studio: Studio, spoken: dict[str, str]
) -> None:
    """Every operation of the API with values of its own description, ids of things that are there, and a full set of
    events beside it; as annotator and as operator, in a studio whose episode file is damaged."""
    studio.settings.folder.episode(spoken["dataset"], spoken["episode"]).write_bytes(b"no HDF5")
    known = {
        **spoken, "dataset_id": spoken["dataset"], "episode_id": spoken["episode"], "job_id": spoken["job"],
    }  # fmt: skip
    statuses: Counter[int] = Counter()
    for role in ("annotator", "operator"):
        with client(role).websocket_connect("ws://127.0.0.1:8000/api/events") as events:
            assert "hello" in events.receive_text()
            for operation in operations(app):
                for address, status, text in said(operation, client(role), known):
                    statuses[status] += 1
                    for place in places(studio.settings):
                        assert place not in text, f"{role}: {operation.method} {address} says {text[:500]}"
            publish(studio, "job", "the last")
            while "the last" not in (text := events.receive_text()):
                assert not any(place in text for place in places(studio.settings)), text
    assert sum(count for status, count in statuses.items() if 400 <= status < 500) > 100, statuses
    assert sum(count for status, count in statuses.items() if status < 300) > 20, statuses


def said(operation: Any, browser: TestClient, known: dict[str, str]) -> list[tuple[str, int, str]]:
    """Address, status and text of answers to a few requests."""
    found: list[tuple[str, int, str]] = []

    @given(case=operation.as_strategy())
    @hypothesis_settings(
        max_examples=4,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if operation.method.upper() != "DELETE":
            for name in case.path_parameters or {}:
                case.path_parameters[name] = known.get(name, case.path_parameters[name])
        answer = call(browser, case)
        found.append((case.formatted_path, answer.status_code, answer.text))

    ask()
    return found


def modes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in (root, *root.rglob("*"))
        if not path.is_symlink()
    }


def test_an_open_data_folder_is_closed_at_a_start(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    outside.write_text("somebody else's")
    outside.chmod(0o644)
    (root / "runs" / "1").mkdir(parents=True)
    (root / "runs" / "1" / "run.json").write_text("{}")
    (root / "runs" / "1" / "train.sh").write_text("#!/bin/sh")
    (root / "runs" / "1" / "train.sh").chmod(0o755)
    (root / "runs" / "link").symlink_to(outside)
    root.chmod(0o755)  # whatever this process's umask is
    DataFolder(root).prepare()
    found: dict[str, Any] = modes(root)
    assert found.pop("runs/1/run.json") == "0o600"
    assert set(found.values()) == {"0o700"}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_what_a_command_makes_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {**os.environ, "STUDIO_DATA": str(data)}
    old = os.umask(0o022)
    try:
        subprocess.run([sys.executable, "-m", "worker.cli", "migrate"], check=True, env=environment, timeout=300)
    finally:
        os.umask(old)
    found = modes(data)
    assert "studio.db" in found
    assert {mode[-2:] for mode in found.values()} == {"00"}, found
