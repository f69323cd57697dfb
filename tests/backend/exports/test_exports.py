"""Exports over the API: what a choice comes to, what the job is told, the archive, deletion by people and by time."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.core.db import utc_now
from backend.core.roles import Role
from backend.exports import service
from backend.exports.formats import formats
from backend.exports.jobs import MANIFEST
from backend.jobs import repository as jobs
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from backend.tables.job import Job, JobKind, JobState
from backend.tables.user import User
from dexvla.episodes.manifest import build_manifest, find_set, load_manifest
from dexvla.formats import registry
from tests.support.labelling_data import STEPS, Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn
from worker.jobs.handlers.base import JobContext
from worker.jobs.handlers.export import ExportHandler

PARTS = ((0, 10, "Reach"), (10, STEPS, "Lift"))


@pytest.fixture(autouse=True)
def _formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the library writes, these two are among it."""
    monkeypatch.setattr(registry, "_EXPORTERS", {"episodes": "no.module:E", "new": "no.module:N"})


@pytest.fixture
def labels(studio: Studio, make_data: MakeData) -> Labels:
    """Four episodes: 0 and 1 succeeded, 2 failed."""
    labels = Labels(studio, make_data, 4)
    with studio.db.transaction() as db:
        for number, success in enumerate((True, True, False)):
            db.get_one(EpisodeRow, labels.ids[number]).success = success
        db.get_one(EpisodeRow, labels.ids[1]).tags = ["night", "red"]
    return labels


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


def publish(browser: TestClient, episode: str, *parts: tuple[int, int, str], **more: Any) -> None:
    edit = ok(save(browser, episode, *parts, **more))["edit"]
    ok(browser.post(f"{episode}/publish", json={"edit": edit}))


def preview(browser: TestClient, data: Labels, **choice: Any) -> Any:
    return ok(browser.post(f"{data.url}/exports/preview", json=choice))


def export(browser: TestClient, data: Labels, **choice: Any) -> Any:
    return browser.post(f"{data.url}/exports", json={"format": "episodes", "choice": choice})


def attempt(studio: Studio, made: dict[str, Any]) -> tuple[ExportHandler, JobContext]:
    """The runner's part: the job claimed and its context."""
    with studio.db.transaction() as db:
        row = jobs.claim(db, made["job"]["id"], owner="test")
        assert row is not None
    job = JobContext(
        studio=studio, id=row.id, kind=JobKind.EXPORT, attempt=row.attempt, title="", subject_id=row.subject_id,
        created_by=None, payload=row.payload, folder=studio.settings.folder.job(row.id),
    )  # fmt: skip
    return ExportHandler(), job


FILES = {"meta/info.json": b"{}", "data/episode_0.bin": bytes(range(256)) * 700, f"videos/{'long' * 40}/0.mp4": b"mp4"}


def make(studio: Studio, made: dict[str, Any]) -> dict[str, Any]:
    """As if the command had written FILES."""
    handler, job = attempt(studio, made)
    command = handler.command(job)
    assert command is not None
    out = Path(command[command.index("--out") + 1])
    for name, data in FILES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    report = {"warnings": ["no rate is known"], "episodes": [{"name": "episode_0", "warnings": ["no tags"]}]}
    Path(command[command.index("--json") + 1]).write_text(json.dumps(report))
    result = handler.finish(job)
    with studio.db.transaction() as db:
        jobs.close(db, job.id, job.attempt, state=JobState.DONE, result=result)
    return result


def test_a_choice_is_counted_before_anything_is_made(operator: TestClient, labels: Labels) -> None:
    publish(operator, labels.episode(0), *PARTS)
    publish(operator, labels.episode(2), *PARTS, success=False)
    found = preview(operator, labels)
    assert (found["episodes"], found["labelled"], found["steps"]) == (4, 2, 4 * STEPS)
    assert found["seconds"] == pytest.approx(4 * STEPS / 50)
    assert found["size_bytes"] > 0
    assert found["tags"] == ["night", "red"]
    (person,) = found["people"]
    for choice, count in [
        ({"labels": "labelled"}, 2),
        ({"labels": "unlabelled"}, 2),
        ({"outcomes": ["failure"]}, 1),
        ({"outcomes": ["failure", "unknown"]}, 2),
        ({"tags": ["red"]}, 1),
        ({"tags": ["red", "blue"]}, 0),
        ({"published_by": person["id"]}, 2),
        ({"published_by": person["id"], "outcomes": ["failure"]}, 1),
        ({"published_by": "f" * 32}, 0),
    ]:
        assert preview(operator, labels, **choice)["episodes"] == count, choice
    refusal(operator.post(f"{labels.url}/exports/preview", json={"version_id": "f" * 32}), 404)
    refusal(operator.post("/api/datasets/none/exports/preview", json={}), 404)


def test_the_job_is_told_episodes_and_labels_as_they_were(operator: TestClient, labels: Labels, studio: Studio) -> None:
    publish(operator, labels.episode(0), *PARTS, instruction="Lift the cube", paraphrases=["Raise it"])
    made = ok(export(operator, labels, outcomes=["success"]))
    assert (made["episodes"], made["steps"], made["title"]) == (2, 2 * STEPS, "Studio HDF5 with labels")
    assert made["job"]["title"].startswith("Export 2 episodes as Studio HDF5 with labels")
    publish(operator, labels.episode(0), (0, STEPS, "Another"))
    handler, job = attempt(studio, made)
    command = handler.command(job)
    assert command is not None
    manifest = Path(command[command.index("export") + 1])
    assert command[command.index("--format") + 1] == "episodes"
    listed = load_manifest(manifest)
    assert [entry.success for entry in listed.episodes] == [True, True]
    assert [(one.start, one.end, one.text) for one in listed.episodes[0].substeps] == list(PARTS)
    assert (listed.episodes[0].instruction, listed.episodes[0].paraphrases) == ("Lift the cube", ("Raise it",))
    assert listed.episodes[1].substeps == ()
    assert [Path(entry.path).name for entry in listed.episodes] == ["episode_0.hdf5", "episode_1.hdf5"]
    build_manifest(find_set(str(manifest)))  # its files are there, and are those that it names
    handler.clean(job)
    assert labels.studio.settings.folder.episode(labels.dataset_id, labels.ids[0]).is_file()
    assert [path.name for path in job.folder.iterdir()] == [MANIFEST]


def test_a_version_goes_out_with_its_own_labels(operator: TestClient, labels: Labels, studio: Studio) -> None:
    publish(operator, labels.episode(1), *PARTS)
    version = ok(operator.post(f"{labels.url}/versions", json={"include_unlabelled": True}))
    publish(operator, labels.episode(1), (0, STEPS, "Another"))
    publish(operator, labels.episode(2), (0, STEPS, "Later"))
    assert preview(operator, labels, version_id=version["id"], labels="labelled")["episodes"] == 1
    made = ok(export(operator, labels, version_id=version["id"], labels="labelled"))
    assert made["version_number"] == 1
    (entry,) = load_manifest(studio.settings.folder.job(made["job"]["id"]) / MANIFEST).episodes
    assert [(one.start, one.end, one.text) for one in entry.substeps] == list(PARTS)
    assert (studio.settings.folder.job(made["job"]["id"]) / entry.path).is_file()
    assert made["name"].endswith("-v1-episodes")


def test_what_cannot_be_exported_is_said_at_once(operator: TestClient, labels: Labels, studio: Studio) -> None:
    told = refusal(operator.post(f"{labels.url}/exports", json={"format": "zip"}), 422)
    assert "episodes, new" in told["fields"]["format"]
    assert "none of the 4 episodes" in refusal(export(operator, labels, tags=["blue"]), 422)["message"]
    with studio.db.transaction(write=False) as db:
        assert db.scalars(select(Job).where(Job.kind == JobKind.EXPORT)).all() == []
    labels.studio.settings.folder.episode(labels.dataset_id, labels.ids[0]).unlink()
    assert "file of episode 0 is gone" in refusal(export(operator, labels), 422)["message"]
    assert list(studio.settings.folder.jobs.iterdir()) == [], "a refused one leaves no folder"


def test_formats_are_told_without_loading_them(client: SignIn) -> None:
    found = ok(client("viewer").get("/api/exports/formats"))
    assert [(one["name"], one["title"]) for one in found] == [("episodes", "Studio HDF5 with labels"), ("new", "new")]
    assert formats()[0].readers


def test_the_archive_has_every_file_and_can_be_resumed(
    client: SignIn, operator: TestClient, labels: Labels, studio: Studio
) -> None:
    made = ok(export(operator, labels))
    url = f"{labels.url}/exports/{made['id']}/archive"
    assert refusal(operator.get(url), 409)["detail"] == {"job_id": made["job"]["id"]}
    refusal(operator.delete(f"{labels.url}/exports/{made['id']}"), 409)
    result = make(studio, made)
    assert result == {"episodes": 4, "files": 3, "size_bytes": result["size_bytes"]}
    viewer = client("viewer")
    (listed,) = ok(viewer.get(f"{labels.url}/exports"))
    assert listed["warnings"] == ["no rate is known", "episode_0: no tags"]
    assert listed["job"]["state"] == "done"
    assert listed["expires_at"] > listed["finished_at"]
    whole = viewer.get(url)
    assert whole.status_code == 200
    assert hashlib.sha256(whole.content).hexdigest() == listed["sha256"]
    assert len(whole.content) == listed["size_bytes"] == int(whole.headers["content-length"])
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
        assert names == {f"{listed['name']}/{name}" for name in FILES}
        for name, data in FILES.items():
            file = archive.extractfile(f"{listed['name']}/{name}")
            assert file is not None
            assert file.read() == data
    part = viewer.get(url, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[1000:])
    assert viewer.head(url).headers["content-length"] == str(len(whole.content))
    (studio.settings.folder.export(made["id"]) / "meta" / "info.json").unlink()
    assert "gone or were changed" in refusal(viewer.get(url), 404)["message"]


def test_a_later_attempt_begins_anew_and_does_not_make_it_twice(
    operator: TestClient, labels: Labels, studio: Studio
) -> None:
    made = ok(export(operator, labels))
    half = studio.settings.folder.export(made["id"]) / "data" / "half.bin"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"of an attempt that was killed")
    make(studio, made)
    assert not half.exists()
    with studio.db.transaction() as db:
        db.get_one(Job, made["job"]["id"]).state = JobState.QUEUED  # it died before its row said done
    handler, job = attempt(studio, made)
    assert handler.command(job) is None
    assert handler.finish(job)["files"] == len(FILES)


def test_what_failed_leaves_nothing_and_can_be_deleted(operator: TestClient, labels: Labels, studio: Studio) -> None:
    made = ok(export(operator, labels))
    folder = studio.settings.folder.export(made["id"])
    handler, job = attempt(studio, made)
    handler.command(job)
    folder.mkdir()
    handler.clean(job)
    assert not folder.exists()
    with studio.db.transaction() as db:
        jobs.close(db, job.id, job.attempt, state=JobState.FAILED, cause="the disk is full")
    assert operator.delete(f"{labels.url}/exports/{made['id']}").status_code == 204
    assert ok(operator.get(f"{labels.url}/exports")) == []
    refusal(operator.get(f"{labels.url}/exports/{made['id']}/archive"), 404)


def test_deleting_removes_the_files(operator: TestClient, labels: Labels, studio: Studio) -> None:
    made = ok(export(operator, labels))
    make(studio, made)
    assert operator.delete(f"{labels.url}/exports/{made['id']}").status_code == 204
    assert not studio.settings.folder.export(made["id"]).exists()
    again = ok(export(operator, labels))
    refusal(operator.delete(labels.url), 409)  # its job is not over
    make(studio, again)
    assert operator.delete(labels.url).status_code == 204
    assert list(studio.settings.folder.exports.iterdir()) == []
    with studio.db.transaction(write=False) as db:
        assert db.scalars(select(Export)).all() == []


def test_old_ones_are_removed_by_themselves(operator: TestClient, labels: Labels, studio: Studio) -> None:
    old, new, open_ = (ok(export(operator, labels)) for _ in range(3))
    make(studio, old)
    make(studio, new)
    with studio.db.transaction() as db:
        long_ago = utc_now() - timedelta(days=studio.settings.export_days, minutes=1)
        db.get_one(Export, old["id"]).finished_at = long_ago
        db.get_one(Export, open_["id"]).created_at = long_ago
    assert service.forget_old(studio) == 1
    assert {one["id"] for one in ok(operator.get(f"{labels.url}/exports"))} == {new["id"], open_["id"]}
    assert not studio.settings.folder.export(old["id"]).exists()
    with studio.db.transaction(write=False) as db:
        assert db.get_one(Export, old["id"]).deleted_why == "kept for 14 days"
        (entry,) = db.scalars(select(AuditEntry).where(AuditEntry.action == "export.delete"))
        assert entry.user_id is None
    assert service.forget_old(studio) == 0


def test_who_labels_blind_gets_no_labels_of_the_first_rater(
    client: SignIn, operator: TestClient, labels: Labels, studio: Studio
) -> None:
    publish(operator, labels.episode(0), *PARTS)
    made = ok(export(operator, labels, labels="labelled"))
    make(studio, made)
    second = client("annotator")
    url = f"{labels.url}/exports/{made['id']}/archive"
    assert second.get(url).status_code == 200
    with studio.db.transaction() as db:
        me = db.scalars(select(User.id).where(User.role == "annotator")).one()
        db.add(
            Draft(
                episode_id=labels.ids[0], rater=1, edit=0, segments=[], instruction="Lift", assignee_id=me,
                state=WorkState.IN_PROGRESS, updated_at=utc_now(),
            )
        )  # fmt: skip
    assert "second rater" in refusal(second.get(url), 403)["message"]
    with studio.db.transaction() as db:
        db.get_one(User, me).role = Role.OPERATOR
    assert "second rater" in refusal(export(second, labels, labels="labelled"), 403)["message"]


@pytest.mark.parametrize("role", ["viewer", "annotator"])
def test_only_operators_make_and_delete_them(
    client: SignIn, operator: TestClient, labels: Labels, studio: Studio, role: str
) -> None:
    made = ok(export(operator, labels))
    make(studio, made)
    person = client(role)
    refusal(export(person, labels), 403)
    refusal(person.delete(f"{labels.url}/exports/{made['id']}"), 403)
    assert person.get(f"{labels.url}/exports/{made['id']}/archive").status_code == 200


def test_an_archive_belongs_to_its_dataset(
    operator: TestClient, labels: Labels, studio: Studio, make_data: Callable[..., Any]
) -> None:
    made = ok(export(operator, labels))
    make(studio, made)
    other = Labels(studio, make_data, 1)
    path = f"exports/{made['id']}"
    assert operator.get(f"{labels.url}/{path}/archive").status_code == 200
    for answer in (operator.get(f"{other.url}/{path}/archive"), operator.delete(f"{other.url}/{path}")):
        assert "no such export" in refusal(answer, 404)["message"]


def test_an_archive_has_a_name_that_file_systems_take(operator: TestClient, labels: Labels) -> None:
    assert operator.patch(labels.url, json={"name": "\u53e0\u8863\u670d" * 40}).status_code == 200
    made = ok(export(operator, labels))
    assert len(made["name"].encode()) <= 160
    assert made["name"].startswith("\u53e0\u8863\u670d")
