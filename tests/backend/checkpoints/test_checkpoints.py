"""/api/checkpoints: lineage, downloads that resume, deletion. The files are real, small ones with a real manifest."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.core.db import utc_now
from backend.studio.context import Studio
from backend.tables.base_model import ModelKind, RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from tests.support.training_data import make_version
from worker.jobs.handlers.saved import read

SignIn = Callable[[str], TestClient]
FILES = {"config.json": b"{}\n", "model.safetensors": bytes(range(256)) * 9001, "empty.txt": b"", "odd.bin": b"x" * 513}


def add_run(studio: Studio, version: str, *, name: str = "pick cube", stage: int = 2, **fields: Any) -> str:
    with studio.db.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="Train", payload={}, state=JobState.DONE)
        db.add(job)
        db.flush()
        run = Run(
            name=name,
            stage=stage,
            spec={},
            sources=[{"version_id": version, "weight": 1.0}],
            job_id=job.id,
            **fields,
        )
        db.add(run)
    return run.id


def add_checkpoint(studio: Studio, run_id: str, *, name: str = "pick-cube", step: int = 200) -> str:
    """As the trainer leaves it and the worker finds it."""
    folder = studio.settings.folder.run(run_id) / "checkpoints" / f"step-{step:07d}"
    folder.mkdir(parents=True)
    entries = {}
    for file, data in FILES.items():
        (folder / file).write_bytes(data)
        entries[file] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest = {"stage": 2, "step": step, "files": entries, "created": "2026-01-02T03:04:05+00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = read(folder, f"{name}-step-{step:07d}")
    with studio.db.transaction() as db:
        row = Checkpoint(
            run_id=run_id,
            step=step,
            stage=2,
            attempt=1,
            sha256=found.manifest_sha256,
            size_bytes=sum(one["size"] for one in found.files),
            files=found.files,
            archive_sha256=found.sha256,
            val_loss=0.5,
            info={"mtime": found.mtime, "archive_size": found.size},
        )
        db.add(row)
    return row.id


@pytest.fixture
def version(studio: Studio, make_episode: Callable[..., Path]) -> str:
    return make_version(studio, make_episode, count=1)


@pytest.fixture
def run_id(studio: Studio, version: str) -> str:
    return add_run(studio, version)


@pytest.fixture
def checkpoint(studio: Studio, run_id: str) -> str:
    return add_checkpoint(studio, run_id)


def test_the_list_and_where_a_checkpoint_comes_from(
    client: SignIn, studio: Studio, version: str, base_model: Path
) -> None:
    model = {"id": "m" * 32, "name": "Qwen2-VL", "kind": ModelKind.BACKBONE, "path": str(base_model), "info": {}}
    expert = {"id": "e" * 32, "name": "ScaleDP-H", "kind": ModelKind.EXPERT, "path": "/x", "info": {}}
    second = add_run(studio, version, origin={"base_model": model, "expert": expert})
    parent = add_checkpoint(studio, second, step=100)
    third = add_run(studio, version, name="target", stage=3, parent_id=parent, origin={"checkpoint": {"id": parent}})
    own = add_checkpoint(studio, third, name="target")
    viewer = client("viewer")
    listed = viewer.get("/api/checkpoints").json()
    assert {one["id"]: one["name"] for one in listed} == {
        own: "target, step 200",
        parent: "pick cube, step 100",
    }
    assert [one["id"] for one in viewer.get(f"/api/checkpoints?run_id={third}").json()] == [own]
    found = viewer.get(f"/api/checkpoints/{own}").json()
    assert [(one["kind"], one["name"], one["stage"], one["step"]) for one in found["ancestors"]] == [
        ("checkpoint", "pick cube, step 100", 2, 100),
        ("backbone", "Qwen2-VL", None, None),
        ("expert", "ScaleDP-H", None, None),
    ]
    assert found["sources"][0]["version_id"] == version
    assert found["available"] is True
    assert {one["name"] for one in found["files"]} == {*FILES, "manifest.json"}
    assert viewer.get("/api/checkpoints/nothing").status_code == 404


def test_the_archive_is_a_tar_whose_every_range_and_hash_agree(client: SignIn, checkpoint: str) -> None:
    viewer = client("viewer")
    found = viewer.get(f"/api/checkpoints/{checkpoint}").json()
    url = f"/api/checkpoints/{checkpoint}/archive"
    whole = viewer.get(url)
    assert whole.status_code == 200
    assert hashlib.sha256(whole.content).hexdigest() == found["archive_sha256"]
    assert whole.headers["etag"] == f'"{found["archive_sha256"]}"'
    assert int(whole.headers["content-length"]) == len(whole.content) == found["archive_size"]
    assert whole.headers["content-disposition"] == 'attachment; filename="pick-cube-step-0000200.tar"'
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert all(member.mtime == 1767323045 for member in members.values())
        for name, data in FILES.items():
            file = archive.extractfile(f"pick-cube-step-0000200/{name}")
            assert file is not None
            assert file.read() == data
    head = viewer.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]

    size = len(whole.content)
    for start in (0, 1, 511, 512, 1023, 1024, 5000, 1_048_576, 2_000_001, size - 1):
        for length in (1, 700, 1_100_000):
            end = min(start + length, size)
            part = viewer.get(url, headers={"Range": f"bytes={start}-{end - 1}"})
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert part.content == whole.content[start:end]
    assert viewer.get(url, headers={"Range": "bytes=-600"}).content == whole.content[-600:]
    assert viewer.get(url, headers={"Range": f"bytes={size - 3}-{size + 99}"}).content == whole.content[-3:]


def test_a_download_goes_on_only_with_the_same_file(client: SignIn, checkpoint: str) -> None:
    viewer = client("viewer")
    url = f"/api/checkpoints/{checkpoint}/files/model.safetensors"
    data = FILES["model.safetensors"]
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    first = viewer.get(url)
    assert (first.content, first.headers["etag"], first.headers["accept-ranges"]) == (data, etag, "bytes")

    def ask(**headers: str) -> tuple[int, int]:
        answer = viewer.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return answer.status_code, len(answer.content)

    assert ask(Range="bytes=100-", If_Range=etag) == (206, len(data) - 100)
    assert ask(Range="bytes=100-", If_Range='"another"') == (200, len(data))
    assert ask(Range="bytes=100-", If_Range="Sat, 01 Jan 2000 00:00:00 GMT") == (200, len(data))
    assert ask(Range="bytes=0-1,5-9") == (200, len(data))  # several ranges: all of it
    assert ask(Range="lines=1-2") == (200, len(data))
    assert ask(Range="bytes=-") == (200, len(data))
    assert ask(Range=f"bytes={len(data)}-")[0] == 416
    assert ask(Range="bytes=9-5")[0] == 416
    assert ask(Range="bytes=-0")[0] == 416
    assert ask(Range="bytes=" + "9" * 5000 + "-")[0] == 416
    assert ask(If_None_Match=etag) == (304, 0)
    assert viewer.head(url, headers={"Range": "bytes=0-9"}).headers["content-length"] == "10"
    assert viewer.get(f"/api/checkpoints/{checkpoint}/files/empty.txt").content == b""
    for name in ("nothing", "..%2F..%2Frun.json", "%2Fetc%2Fpasswd"):
        assert viewer.get(f"/api/checkpoints/{checkpoint}/files/{name}").status_code == 404


def test_nginx_in_front_is_told_which_file_to_send(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str
) -> None:
    viewer, url, data = client("viewer"), f"/api/checkpoints/{checkpoint}/files/model.safetensors", FILES
    says = {"X-Sendfile-Type": "X-Accel-Redirect"}
    assert viewer.get(url, headers=says).content == data["model.safetensors"], "not set: whoever says it gets the file"
    object.__setattr__(studio.settings, "accel_redirect", "/studio-files")
    try:
        told = viewer.get(url, headers=says | {"Range": "bytes=5-"})
        assert (told.status_code, told.content) == (200, b""), "ranges are for nginx to see to"
        place = f"/studio-files/runs/{run_id}/checkpoints/step-0000200/model.safetensors"
        assert told.headers["x-accel-redirect"] == place
        digest = hashlib.sha256(data["model.safetensors"])
        assert told.headers["etag"] == f'"{digest.hexdigest()}"'
        assert told.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert viewer.get(url, headers=says | {"If-None-Match": told.headers["etag"]}).status_code == 304
        plain = viewer.get(url)
        assert (plain.content, "x-accel-redirect" in plain.headers) == (data["model.safetensors"], False)
        archive = viewer.get(f"/api/checkpoints/{checkpoint}/archive", headers=says)
        assert (len(archive.content) > 2_000_000, "x-accel-redirect" in archive.headers) == (True, False)
    finally:
        object.__setattr__(studio.settings, "accel_redirect", None)


@pytest.fixture
def address(app: FastAPI, client: SignIn) -> Iterator[str]:
    """The application behind a real server."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_curl_resumes_a_broken_download(address: str, client: SignIn, checkpoint: str, tmp_path: Path) -> None:
    found = client("viewer").get(f"/api/checkpoints/{checkpoint}").json()
    jar = "; ".join(f"{name}={value}" for name, value in client("viewer").cookies.items())
    target = tmp_path / found["archive_name"]
    curl = ["curl", "-sS", "--fail", "-H", f"Cookie: {jar}", "-o", str(target)]
    url = f"{address}/api/checkpoints/{checkpoint}/archive"
    subprocess.run([*curl, url], check=True, timeout=30)
    whole = target.read_bytes()
    assert hashlib.sha256(whole).hexdigest() == found["archive_sha256"]
    target.write_bytes(whole[:1_234_567])  # it broke off here
    subprocess.run([*curl, "-C", "-", url], check=True, timeout=30)
    assert target.read_bytes() == whole


def test_deleting_frees_the_files_and_keeps_the_lineage(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str
) -> None:
    folder = studio.settings.folder.run(run_id) / "checkpoints" / "step-0000200"
    assert client("annotator").delete(f"/api/checkpoints/{checkpoint}").status_code == 403
    assert folder.is_dir()
    assert client("operator").delete(f"/api/checkpoints/{checkpoint}").status_code == 204
    assert not folder.exists()
    viewer = client("viewer")
    assert viewer.get("/api/checkpoints").json() == []
    gone = viewer.get("/api/checkpoints?deleted=true").json()[0]
    assert (gone["available"], gone["deleted_why"]) == (False, "deleted by operator")
    assert viewer.get(f"/api/checkpoints/{checkpoint}").status_code == 200
    answer = viewer.get(f"/api/checkpoints/{checkpoint}/archive")
    assert answer.status_code == 404
    assert "deleted by operator" in answer.json()["error"]["message"]
    assert client("operator").delete(f"/api/checkpoints/{checkpoint}").status_code == 404


def test_a_run_whose_newest_checkpoint_was_deleted_is_not_resumed(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str
) -> None:
    """It would begin at step 0 again."""
    operator = client("operator")
    with studio.db.transaction() as db:
        job_id = db.get_one(Run, run_id).job_id
        db.get_one(Job, job_id).state = JobState.CANCELLED
    assert operator.delete(f"/api/checkpoints/{checkpoint}").status_code == 204
    answer = operator.post(f"/api/jobs/{job_id}/resume")
    assert answer.status_code == 409
    assert "step 200, whose files are gone (deleted by operator)" in answer.json()["error"]["message"]
    assert operator.get(f"/api/jobs/{job_id}").json()["state"] == "cancelled"
    assert operator.delete(f"/api/runs/{run_id}").status_code == 204
    answer = operator.post(f"/api/jobs/{job_id}/resume")
    assert answer.json()["error"]["message"] == "This run was deleted; there is nothing to go on with."


def test_what_is_in_use_is_not_deleted(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str, version: str
) -> None:
    operator = client("operator")

    def state(job_id: str, new: JobState) -> None:
        with studio.db.transaction() as db:
            db.get_one(Job, job_id).state = new

    def refused() -> str:
        answer = operator.delete(f"/api/checkpoints/{checkpoint}")
        assert answer.status_code == 409, answer.text
        return str(answer.json()["error"]["message"])

    with studio.db.transaction() as db:
        own = db.get_one(Run, run_id).job_id
    state(own, JobState.QUEUED)
    assert "may go on from" in refused()
    state(own, JobState.DONE)

    child = add_run(studio, version, name="child", stage=3, parent_id=checkpoint)
    with studio.db.transaction() as db:
        job = db.get_one(Run, child).job_id
    state(job, JobState.QUEUED)
    assert "child starts from" in refused()
    state(job, JobState.DONE)
    assert operator.delete(f"/api/runs/{run_id}").status_code == 409  # child's lineage needs it

    with studio.db.transaction() as db:
        evaluating = Job(kind=JobKind.EVALUATE, title="Evaluate", payload={})
        db.add(evaluating)
        db.flush()
        kind = EvaluationKind.CLOSED_LOOP
        db.add(Evaluation(kind=kind, checkpoint_id=checkpoint, settings={}, job_id=evaluating.id))
    assert "An evaluation" in refused()
    state(evaluating.id, JobState.DONE)
    assert operator.delete(f"/api/checkpoints/{checkpoint}").status_code == 204


def test_files_that_vanished_or_changed_are_not_sent(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str, version: str
) -> None:
    folder = studio.settings.folder.run(run_id) / "checkpoints" / "step-0000200"
    (folder / "odd.bin").write_bytes(b"shorter")
    viewer = client("viewer")
    assert viewer.get(f"/api/checkpoints/{checkpoint}/archive").status_code == 409
    assert viewer.get(f"/api/checkpoints/{checkpoint}/files/odd.bin").status_code == 409
    assert viewer.get(f"/api/checkpoints/{checkpoint}/files/config.json").status_code == 200


def test_a_flipped_byte_is_neither_downloaded_nor_trained_from(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str, version: str
) -> None:
    folder = studio.settings.folder.run(run_id) / "checkpoints" / "step-0000200"
    viewer = client("viewer")
    assert viewer.get(f"/api/checkpoints/{checkpoint}/archive").status_code == 200
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[1000] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    for path, headers in (
        ("archive", {}), ("archive", {"Range": "bytes=0-9"}), ("files/model.safetensors", {}),
    ):  # fmt: skip
        answer = viewer.get(f"/api/checkpoints/{checkpoint}/{path}", headers=headers)
        assert answer.status_code == 409
        message = answer.json()["error"]["message"]
        assert message.startswith("model.safetensors of pick cube, step 200 was changed or damaged: its sha256 is ")
        assert "saved was" in message
        assert "Restore the checkpoint from a backup" in message
    assert viewer.get(f"/api/checkpoints/{checkpoint}/files/config.json").status_code == 200
    data[1000] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert viewer.get(f"/api/checkpoints/{checkpoint}/archive").status_code == 200
    # what loads it compares the files with the manifest, so that one is looked at before anything is queued
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace('"step": 200', '"step": 201'))
    answer = client("operator").post(
        "/api/evaluations", json={"kind": "closed_loop", "checkpoint_id": checkpoint, "task": "transfer_cube"}
    )
    assert answer.status_code == 409, answer.text
    assert answer.json()["error"]["message"].startswith("manifest.json of pick cube, step 200 was changed")


def test_stage_3_from_a_checkpoint_that_is_gone(
    client: SignIn, studio: Studio, checkpoint: str, run_id: str, version: str
) -> None:
    body = {"name": "t", "stage": 3, "preset": "tiny", "sources": [{"version_id": version}]}
    check = "/api/training/check"

    def error() -> str:
        answer = client("operator").post(check, json={**body, "checkpoint_id": checkpoint}).json()
        return str(answer["errors"]["checkpoint_id"])

    assert "are gone or damaged; restore" in error()  # the small files here are no policy
    with studio.db.transaction() as db:
        row = db.get_one(Checkpoint, checkpoint)
        row.deleted_at, row.deleted_why = utc_now(), "the run keeps the newest 3"
    assert "were deleted (the run keeps the newest 3)" in error()
    with studio.db.transaction() as db:
        db.add(RegisteredModel(id="b" * 32, name="B", kind=ModelKind.BACKBONE, path="/nowhere", size_bytes=1))
    wrong = client("operator").post(check, json={**body, "base_model_id": "b" * 32}).json()
    assert "is a base model; expected a policy" in wrong["errors"]["base_model_id"]


def test_nobody_downloads_without_signing_in(anonymous: TestClient, checkpoint: str) -> None:
    for path in ("", f"/{checkpoint}", f"/{checkpoint}/archive", f"/{checkpoint}/files/config.json"):
        assert anonymous.get(f"/api/checkpoints{path}").status_code == 401
