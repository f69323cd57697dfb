"""Datasets over the API: lists, uploads, imports below roots, versions that a trainer can read years later."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert
from sqlalchemy.event import listen

from backend.core.db import new_id, utc_now
from backend.datasets import roots
from backend.datasets.jobs import RecordPayload
from backend.datasets.roots import episode_files
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.episode import EpisodeRow
from backend.tables.evaluation import Evaluation, EvaluationKind
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.manifest import build_manifest, find_set, load_manifest, manifest_hash
from dexvla.episodes.writer import write_episode
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

MakeData = Callable[..., EpisodeData]
LABELS = [(0, 12, "Reach for the cube"), (12, 24, "Lift the cube")]


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def fill(operator: TestClient, tmp_path: Path, make_data: MakeData) -> Callable[..., tuple[str, list[str]]]:
    """fill(episodes): a dataset with uploaded, proposed-labelled episodes; (dataset id, episode ids)."""

    def run(episodes: int = 2, name: str = "cubes") -> tuple[str, list[str]]:
        dataset_id = operator.post("/api/datasets", json={"name": name}).json()["id"]
        ids = []
        for number in range(episodes):
            file = tmp_path / f"{name}-{number}.hdf5"
            write_episode(file, make_data(seed=number))
            answer = upload(operator, dataset_id, file)
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["episode"]["id"])
        return dataset_id, ids

    return run


def upload(browser: TestClient, dataset_id: str, file: Path) -> Any:
    url = f"/api/datasets/{dataset_id}/episodes"
    return browser.post(url, params={"name": file.name}, content=file.read_bytes())


def publish(browser: TestClient, episode_id: str) -> None:
    edit = browser.get(f"/api/episodes/{episode_id}/draft").json()["edit"]
    answer = browser.post(f"/api/episodes/{episode_id}/publish", json={"edit": edit, "looked_at": True})
    assert answer.status_code == 201, answer.text


def test_making_changing_and_deleting(operator: TestClient) -> None:
    made = operator.post("/api/datasets", json={"name": "  fold shirts "}).json()
    assert made["name"] == "fold shirts"
    assert operator.post("/api/datasets", json={"name": "Fold Shirts"}).status_code == 409
    url = f"/api/datasets/{made['id']}"
    vocabulary = ["Grasp the sleeve", "Grasp  the sleeve", "Fold"]
    changed = operator.patch(url, json={"description": "white ones", "vocabulary": vocabulary}).json()
    assert (changed["description"], changed["vocabulary"]) == ("white ones", ["Grasp the sleeve", "Fold"])
    refused = operator.patch(url, json={"vocabulary": ["<|im_end|>"]})
    assert refused.status_code == 422
    assert "vocabulary.0" in refused.json()["error"]["fields"]
    assert operator.delete(url).status_code == 204
    assert operator.get(url).status_code == 404


@pytest.mark.parametrize("role", ["viewer", "annotator"])
def test_only_operators_change_datasets(client: SignIn, fill: Callable[..., Any], role: str) -> None:
    dataset_id, (episode_id, *_) = fill(1)
    person = client(role)
    assert person.get(f"/api/datasets/{dataset_id}").status_code == 200
    for method, path in [
        ("POST", "/api/datasets"),
        ("DELETE", f"/api/datasets/{dataset_id}"),
        ("POST", f"/api/datasets/{dataset_id}/versions"),
        ("DELETE", f"/api/episodes/{episode_id}"),
        ("POST", f"/api/datasets/{dataset_id}/episodes"),
        ("POST", "/api/datasets/demo"),
        ("PATCH", f"/api/datasets/{dataset_id}"),
        ("POST", f"/api/datasets/{dataset_id}/import"),
        ("GET", "/api/import/candidates"),
    ]:
        body = None if method in {"DELETE", "GET"} else {"name": "x"} if path == "/api/datasets" else {}
        assert person.request(method, path, json=body).status_code == 403, path


def test_lists_count_what_is_there(operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, ids = fill(3)
    publish(operator, ids[0])
    (listed,) = operator.get("/api/datasets").json()
    wanted = {"episodes": 3, "steps": 72, "labelled": 1, "drafts": 0, "versions": 0, "cover_episode_id": ids[0]}
    assert {key: listed[key] for key in wanted} == wanted
    page = operator.get(f"/api/datasets/{dataset_id}/episodes", params={"offset": 1, "limit": 1}).json()
    assert (page["total"], [item["number"] for item in page["items"]]) == (3, [1])
    assert page["items"][0]["segments"] == 2
    assert page["items"][0]["seconds"] == pytest.approx(24 / 50)


def test_a_refused_upload_names_every_reason(operator: TestClient, fill: Callable[..., Any], tmp_path: Path) -> None:
    dataset_id, _ = fill(0)
    (tmp_path / "x.hdf5").write_bytes(b"not HDF5")
    answer = upload(operator, dataset_id, tmp_path / "x.hdf5")
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["detail"]["name"] == "x.hdf5"
    assert "not a readable HDF5 file" in error["detail"]["errors"][0]
    assert operator.get(f"/api/datasets/{dataset_id}").json()["episodes"] == 0
    empty = operator.post(f"/api/datasets/{dataset_id}/episodes", content=b"")
    assert empty.status_code == 422


def test_an_upload_by_form_is_told_how_it_is_done(
    operator: TestClient, studio: Studio, fill: Callable[..., Any], tmp_path: Path, make_data: MakeData
) -> None:
    dataset_id, _ = fill(0)
    file = tmp_path / "x.hdf5"
    write_episode(file, make_data(seed=1))
    url = f"/api/datasets/{dataset_id}/episodes"
    answer = operator.post(url, files={"file": file.open("rb")})
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert "--data-binary @episode.hdf5" in message
    assert f"{url}?name=episode.hdf5" in message
    assert list(studio.settings.folder.uploads.iterdir()) == []
    described = operator.get("/api/openapi.json").json()["paths"]["/api/datasets/{dataset_id}/episodes"]["post"]
    (kind,) = described["requestBody"]["content"]
    assert kind == "application/octet-stream"
    assert operator.post(url, content=file.read_bytes(), headers={"Content-Type": kind}).status_code == 201


def test_no_upload_stays_in_the_uploads_folder(studio: Studio, operator: TestClient, fill: Callable[..., Any]) -> None:
    fill(1)
    assert list(studio.settings.folder.uploads.iterdir()) == []


def test_imports_come_from_below_the_roots(
    operator: TestClient, fill: Callable[..., Any], tmp_path: Path, make_data: MakeData
) -> None:
    root = tmp_path / "imports"
    (root / "monday").mkdir()
    write_episode(root / "monday" / "episode_0.hdf5", make_data(seed=9))
    outside = tmp_path / "outside"
    outside.mkdir()
    write_episode(outside / "episode_0.hdf5", make_data(seed=8))
    os.symlink(outside, root / "link")
    os.symlink(outside / "episode_0.hdf5", root / "monday" / "episode_1.hdf5")
    (found,) = operator.get("/api/import/candidates").json()
    assert (found["folder"], found["files"]) == ("monday", 1)
    dataset_id, _ = fill(0)
    url = f"/api/datasets/{dataset_id}/import"
    for wrong in ("../outside", str(outside), "0" * 32):
        assert operator.post(url, json={"candidate_id": wrong}).status_code == 404
    job = operator.post(url, json={"candidate_id": found["id"]}).json()
    assert (job["kind"], job["state"], job["total"], job["subject_id"]) == ("import", "queued", 1, dataset_id)


def test_a_root_may_hold_anything(operator: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links in circles, names that are no text, folders without end."""
    root = tmp_path / "imports"
    odd = root / os.fsdecode(b"odd\xff")
    for folder in (root / "monday", odd):
        folder.mkdir()
        for number in range(8):
            (folder / f"episode_{number}.hdf5").touch()
    os.symlink(root, root / "monday" / "loop")
    os.symlink(".", root / "self")
    answer = operator.get("/api/import/candidates")
    assert answer.status_code == 200
    assert {one["folder"]: one["files"] for one in answer.json()} == {".": 16, "monday": 8}
    monkeypatch.setattr(roots, "_FILES", 5)
    assert [one["files"] for one in operator.get("/api/import/candidates").json()] == [5]
    assert len(episode_files(root)) == 5


def test_names_are_one_line_and_taken_whatever_their_case(operator: TestClient) -> None:
    made = operator.post("/api/datasets", json={"name": "ÜBUNG \n eins"})
    assert (made.status_code, made.json()["name"]) == (201, "ÜBUNG eins")
    for name in ("ÜBUNG eins", "übung EINS"):
        assert operator.post("/api/datasets", json={"name": name}).status_code == 409
    for name in ("a\x01b", " ", "x" * 129):
        refused = operator.post("/api/datasets", json={"name": name})
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (422, ["name"])
    for _ in range(2):
        assert operator.post("/api/datasets/demo", json={"name": "Ü" * 128}).status_code == 202
    assert {"Ü" * 128, "Ü" * 122 + " 2"} < {item["name"] for item in operator.get("/api/datasets").json()}


def test_an_import_takes_what_the_list_says(operator: TestClient, tmp_path: Path, make_data: MakeData) -> None:
    root = tmp_path / "imports"
    for folder, numbers in (("tasks/a", [0, 1]), ("tasks/b/deep", [2]), ("tasks/.hidden", [3]), ("other", [])):
        (root / folder).mkdir(parents=True)
        for number in numbers:
            write_episode(root / folder / f"episode_{number}.hdf5", make_data(seed=number))
    (root / "other" / "notes.txt").write_bytes(b"")
    os.symlink(root / "tasks" / "a" / "episode_0.hdf5", root / "other" / "episode_9.hdf5")
    listed = operator.get("/api/import/candidates").json()
    assert [(one["folder"], one["files"]) for one in listed] == [("tasks", 3), ("tasks/a", 2), ("tasks/b/deep", 1)]
    for one in listed:
        files = episode_files(root / one["folder"])
        assert (len(files), sum(file.stat().st_size for file in files)) == (one["files"], one["size_bytes"])


def test_a_demo_of_another_robot_is_refused_at_once(operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, _ = fill(1)  # of no render profile
    refused = operator.post("/api/datasets/demo", json={"dataset_id": dataset_id})
    assert refused.status_code == 422
    assert "the render profile fast, its episodes have None" in refused.json()["error"]["message"]
    assert operator.get("/api/jobs").json()["total"] == 0


def test_a_demo_recording_is_a_job(operator: TestClient) -> None:
    first = operator.post("/api/datasets/demo", json={"episodes": 2}).json()
    second = operator.post("/api/datasets/demo", json={"episodes": 2}).json()
    names = {item["name"] for item in operator.get("/api/datasets").json()}
    assert names == {"Demo: transfer the cube", "Demo: transfer the cube 2"}
    assert first["subject_id"] != second["subject_id"]
    assert operator.delete(f"/api/datasets/{first['subject_id']}").status_code == 409  # still to be recorded


def test_a_demo_of_pick_colour_has_its_options_and_the_close_camera(studio: Studio, operator: TestClient) -> None:
    options = {"level": "jitter", "split": "training", "swapped": False}
    asked = {"task": "pick_colour", "options": {"level": "jitter", "split": "training"}, "name": "Demo: pick a colour"}
    job = operator.post("/api/datasets/demo", json=asked).json()
    with studio.db.transaction(write=False) as db:
        spec = RecordPayload.model_validate(db.get_one(Job, job["id"]).payload).spec
    assert (spec.task, spec.options) == ("pick_colour", options)
    assert "cam_table" in [camera.name for camera in spec.cameras]
    assert "(jitter, training)" in operator.get(f"/api/datasets/{job['subject_id']}").json()["description"]
    refused = operator.post("/api/datasets/demo", json={"task": "insertion", "options": options})
    assert refused.status_code == 422
    assert "options of pick_colour; insertion has none" in refused.text


def test_a_demo_with_recoveries_has_their_options(studio: Studio, operator: TestClient) -> None:
    options = {"push": 0.5, "miss": 0.2, "slip": 0.0, "wide_start": 1.0, "fastest": 1.2, "noise": 0.005}
    job = operator.post("/api/datasets/demo", json={"recovery": options}).json()
    with studio.db.transaction(write=False) as db:
        spec = RecordPayload.model_validate(db.get_one(Job, job["id"]).payload).spec
    assert spec.recovery is not None
    assert spec.recovery.model_dump() == options
    assert "with recoveries" in operator.get(f"/api/datasets/{job['subject_id']}").json()["description"]
    plain = operator.post("/api/datasets/demo", json={}).json()
    with studio.db.transaction(write=False) as db:
        assert RecordPayload.model_validate(db.get_one(Job, plain["id"]).payload).spec.recovery is None
    refused = operator.post("/api/datasets/demo", json={"recovery": {"push": 2}})
    assert refused.status_code == 422
    assert "recovery.push" in refused.text


def test_a_version_is_what_a_trainer_reads(studio: Studio, operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, ids = fill(2)
    url = f"/api/datasets/{dataset_id}/versions"
    refused = operator.post(url, json={})
    assert refused.status_code == 422
    assert "None of the 2 episodes has published labels" in refused.json()["error"]["message"]
    publish(operator, ids[0])
    made = operator.post(url, json={"note": "first"})
    assert made.status_code == 201
    version = made.json()
    assert (version["number"], version["episodes"], version["steps"], version["labelled_steps"]) == (1, 1, 24, 24)
    again = operator.post(url, json={})
    assert (again.status_code, again.json()["id"]) == (200, version["id"])

    path = studio.settings.folder.manifest(version["id"])
    manifest = load_manifest(path)
    assert manifest_hash(manifest) == version["manifest_sha256"]
    assert not Path(manifest.episodes[0].path).is_absolute()
    rebuilt, _ = build_manifest(find_set(str(path)), cameras=manifest.cameras)
    assert [(s.start, s.end, s.text) for s in rebuilt.episodes[0].substeps] == LABELS
    served = operator.get(f"/api/versions/{version['id']}/manifest").json()
    assert served["episodes"][0]["identity"] == manifest.episodes[0].identity

    both = operator.post(url, json={"include_unlabelled": True}).json()
    assert (both["number"], both["episodes"], both["labelled_steps"]) == (2, 2, 24)
    assert operator.delete(f"/api/episodes/{ids[1]}").status_code == 409


def test_labels_changed_later_do_not_change_a_version(
    studio: Studio, operator: TestClient, fill: Callable[..., Any]
) -> None:
    dataset_id, (episode_id,) = fill(1)
    publish(operator, episode_id)
    version = operator.post(f"/api/datasets/{dataset_id}/versions", json={}).json()
    draft = operator.get(f"/api/episodes/{episode_id}/draft").json()
    one = [{"start": 0, "end": 24, "text": "Something else"}]
    body = {"edit": draft["edit"], "segments": one, "instruction": draft["instruction"], "success": None}
    assert operator.put(f"/api/episodes/{episode_id}/draft", json=body).status_code == 200
    publish(operator, episode_id)
    manifest = load_manifest(studio.settings.folder.manifest(version["id"]))
    assert [(s.start, s.end, s.text) for s in manifest.episodes[0].substeps] == LABELS
    newer = operator.post(f"/api/datasets/{dataset_id}/versions", json={}).json()
    assert newer["manifest_sha256"] != version["manifest_sha256"]


def test_a_version_has_the_plan_and_the_paraphrases(
    studio: Studio, operator: TestClient, fill: Callable[..., Any]
) -> None:
    dataset_id, (episode_id,) = fill(1)
    versions, episode = f"/api/datasets/{dataset_id}/versions", f"/api/episodes/{episode_id}"
    publish(operator, episode_id)
    plain = operator.post(versions, json={}).json()

    assert operator.patch(f"/api/datasets/{dataset_id}/labelling", json={"plan_tier": True}).status_code == 200
    assert operator.post(versions, json={}).json()["id"] == plain["id"]  # there is no plan to add yet
    draft = operator.get(f"{episode}/draft").json()
    body = {name: draft[name] for name in ("edit", "segments", "instruction", "success")}
    body["paraphrases"] = ["Pick the cube up", "Raise the cube"]
    assert operator.put(f"{episode}/draft", json=body).status_code == 200
    publish(operator, episode_id)
    plan = [{"start": 0, "end": 10, "text": "Get it"}, {"start": 10, "end": 24, "text": "Bring it"}]
    where = {"tier": "plan"}
    saved = operator.put(f"{episode}/draft", params=where, json={"edit": 0, "segments": plan})
    assert saved.status_code == 200, saved.text
    done = operator.post(f"{episode}/publish", json={"edit": saved.json()["edit"], **where})
    assert done.status_code == 201, done.text

    version = operator.post(versions, json={}).json()
    assert version["id"] != plain["id"]
    (entry,) = load_manifest(studio.settings.folder.manifest(version["id"])).episodes
    assert [(s.start, s.end, s.text) for s in entry.plan] == [(0, 10, "Get it"), (10, 24, "Bring it")]
    assert entry.paraphrases == ("Pick the cube up", "Raise the cube")
    assert [(s.start, s.end, s.text) for s in entry.substeps] == LABELS
    rebuilt, _ = build_manifest(find_set(str(studio.settings.folder.manifest(version["id"]))))
    assert (rebuilt.episodes[0].plan, rebuilt.episodes[0].paraphrases) == (entry.plan, entry.paraphrases)


def test_labels_changed_back_give_the_version_there_is(operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, (episode_id,) = fill(1)
    url, ids = f"/api/episodes/{episode_id}/draft", []
    draft = operator.get(url).json()
    first = {key: draft[key] for key in ("segments", "instruction", "success")}
    other = {**first, "segments": [{"start": 0, "end": 24, "text": "Something else"}]}
    for labels in (first, other, first):
        edit = operator.get(url).json()["edit"]
        assert operator.put(url, json={"edit": edit, **labels}).status_code == 200
        publish(operator, episode_id)
        ids.append(operator.post(f"/api/datasets/{dataset_id}/versions", json={}).json()["id"])
    assert ids[0] == ids[2] != ids[1]


def test_versions_that_were_replayed_keep_their_dataset(
    studio: Studio, operator: TestClient, fill: Callable[..., Any]
) -> None:
    dataset_id, (episode_id,) = fill(1)
    publish(operator, episode_id)
    version_id = operator.post(f"/api/datasets/{dataset_id}/versions", json={}).json()["id"]
    with studio.db.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="", payload={}, state=JobState.DONE)
        db.add(job)
        db.flush()
        run = Run(name="r", stage=2, spec={}, sources=[], job_id=job.id, deleted_at=utc_now())
        db.add(run)
        db.flush()
        checkpoint = Checkpoint(
            run_id=run.id, step=1, stage=2, attempt=1, sha256="0" * 64, archive_sha256="0" * 64, size_bytes=1, files=[]
        )
        db.add(checkpoint)
        db.flush()
        replay = Evaluation(
            kind=EvaluationKind.OPEN_LOOP,
            checkpoint_id=checkpoint.id,
            version_id=version_id,
            job_id=job.id,
            settings={},
            report=None,
        )
        db.add(replay)
    refused = operator.delete(f"/api/datasets/{dataset_id}")
    assert refused.status_code == 409
    assert (
        "Version 1 of this dataset is what a run was trained on or an evaluation" in refused.json()["error"]["message"]
    )


def test_lists_of_many_episodes_ask_a_handful_of_queries(
    studio: Studio, operator: TestClient, fill: Callable[..., Any]
) -> None:
    """800 episodes in a handful of queries, whatever their number."""
    dataset_id, (episode_id,) = fill(1)
    with studio.db.transaction() as db:
        first = db.get_one(EpisodeRow, episode_id)
        facts = {column.key: getattr(first, column.key) for column in EpisodeRow.__table__.columns}
        db.execute(
            insert(EpisodeRow),
            [facts | {"id": new_id(), "number": n, "identity": f"{n:064}"} for n in range(1, 800)],
        )
    queries: list[str] = []

    def of_lists(*given: Any) -> None:
        if "episodes" in given[2] or "datasets" in given[2]:  # housekeeping goes on beside
            queries.append(given[2])

    listen(studio.db.engine, "before_cursor_execute", of_lists)
    page = operator.get(f"/api/datasets/{dataset_id}/episodes", params={"limit": 500}).json()
    (listed,) = operator.get("/api/datasets").json()
    assert (page["total"], len(page["items"]), listed["episodes"]) == (800, 500, 800)
    assert 2 <= len(queries) < 16, queries


def test_an_empty_dataset_makes_no_version(operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, _ = fill(0)
    answer = operator.post(f"/api/datasets/{dataset_id}/versions", json={})
    assert (answer.status_code, "no episodes yet" in answer.json()["error"]["message"]) == (422, True)


def test_deleting_takes_the_files_along(studio: Studio, operator: TestClient, fill: Callable[..., Any]) -> None:
    dataset_id, (first, second) = fill(2)
    folder = studio.settings.folder.episodes / dataset_id
    assert operator.delete(f"/api/episodes/{first}").status_code == 204
    assert {path.stem for path in folder.iterdir()} == {first, second}, "it can be brought back"
    assert operator.get(f"/api/episodes/{first}").status_code == 404
    assert operator.delete(f"/api/datasets/{dataset_id}").status_code == 204
    assert not folder.exists()
