"""Uploads by tus over the API: sent in pieces, compared, taken in; whatever is wrong is told and leaves nothing."""

import base64
import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import pytest
from fastapi.testclient import TestClient

from backend.core.db import utc_now
from backend.core.errors import DiskFullError, UnavailableError
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.intake.accept import accept
from backend.intake.child import NoReaderError
from backend.store.base import StoreAwayError
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.upload import Upload, UploadedFile, UploadState
from backend.tables.user import User
from backend.uploads import folders, service, taking
from backend.uploads.clearing import clear
from backend.uploads.paths import lay_out
from dexvla.episodes.jpeg import encode_jpeg
from tests.support.foreign_files import drop, foreign_file, rows_of
from tests.support.labelling_data import ok, refusal
from tests.support.people import SignIn
from tests.support.robot_hosts import until

pytestmark = pytest.mark.slow

TUS = {"Tus-Resumable": "1.0.0"}
OVER = {"taken_in", "already_there", "refused", "staged"}


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.fixture
def dataset(operator: TestClient) -> str:
    made: str = ok(operator.post("/api/datasets", json={"name": "one"}))["id"]
    return f"/api/datasets/{made}"


@pytest.fixture
def content(tmp_path: Path, make_episode: Callable[..., Path]) -> bytes:
    """Of an episode without an instruction."""
    path = make_episode(tmp_path / "a.hdf5", steps=4)
    with h5py.File(path, "r+") as file:
        del file["language_raw"]
    return path.read_bytes()


def announce(browser: TestClient, dataset: str, *files: tuple[str, int], **more: Any) -> Any:
    listed = [{"path": path, "size": size} for path, size in files]
    return ok(browser.post(f"{dataset}/uploads", json={"files": listed, **more}))


def send(browser: TestClient, url: str, piece: bytes, offset: int, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    return browser.patch(url, content=piece, headers={**TUS, **kind, **given})


def offset(browser: TestClient, url: str) -> int:
    answer = browser.head(url, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def outcome(browser: TestClient, url: str) -> Any:
    until(lambda: ok(browser.get(url))["state"] in OVER, 60)
    return ok(browser.get(url))


def sender(studio: Studio) -> Actor:
    with studio.db.transaction(write=False) as db:
        id = db.query(User).filter(User.name == "operator").one().id
    return Actor(id=id, name="operator", role=Role.OPERATOR)


def staged(studio: Studio) -> list[Path]:
    return [path for path in studio.settings.folder.staging.rglob("*") if path.is_file() and path.name != "lock"]


def checksum(piece: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, piece).digest()).decode()}"


def test_a_file_in_pieces_becomes_an_episode_and_is_known_the_next_time(
    operator: TestClient, dataset: str, studio: Studio, content: bytes
) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    made = announce(
        operator, dataset, ("day 1/a.hdf5", len(content)), ("day 1/b.hdf5", 0), instruction="Lift the cube."
    )
    assert (made["kind"], made["counts"]) == ("episodes", {"uploading": 1, "refused": 1})
    first, empty = made["items"]
    assert "empty" in empty["message"]
    url, half = first["url"], len(content) // 2
    answer = send(operator, url, content[:half], 0, Upload_Checksum=checksum(content[:half]))
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(half))
    assert answer.headers["Upload-Expires"].endswith("GMT")
    assert offset(operator, url) == half
    assert ok(operator.get(f"{dataset}/uploads"))[0]["received_bytes"] == half
    ok(operator.put(f"{url}/sha256", json={"sha256": sha256}))
    assert "another file" in refusal(operator.put(f"{url}/sha256", json={"sha256": "0" * 64}), 409)["message"]
    assert send(operator, url, content[half:], half, Upload_Checksum=checksum(content[half:], "sha1")).is_success
    assert offset(operator, url) == len(content)
    said = outcome(operator, url)
    assert (said["state"], said["episode_number"], said["message"]) == ("taken_in", 0, None)
    with studio.db.transaction(write=False) as db:
        episode = db.get_one(EpisodeRow, said["episode_id"])
    assert (episode.source_sha256, episode.original_name, episode.instruction) == (sha256, "a.hdf5", "Lift the cube.")
    assert not staged(studio)
    refusal(send(operator, url, b"x", len(content)), 409)

    again = ok(
        operator.post(
            f"{dataset}/uploads", json={"files": [{"path": "c.hdf5", "size": len(content), "sha256": sha256}]}
        )
    )["items"][0]
    assert (again["state"], again["episode_id"]) == ("already_there", said["episode_id"]), "nothing of it is sent"
    later = announce(operator, dataset, ("d.hdf5", len(content)))["items"][0]
    send(operator, later["url"], content[:10], 0)
    ok(operator.put(f"{later['url']}/sha256", json={"sha256": "1" * 64}))
    anew = ok(operator.put(f"{later['url']}/sha256", json={"sha256": "2" * 64, "restart": True}))
    assert (anew["sha256"], anew["received"], offset(operator, later["url"])) == ("2" * 64, 0, 0)
    ok(operator.put(f"{later['url']}/sha256", json={"sha256": "3" * 64, "restart": True}))
    last = operator.put(f"{later['url']}/sha256", json={"sha256": sha256, "restart": True})
    assert ok(last)["state"] == "already_there"
    assert not staged(studio)
    unsaid = announce(operator, dataset, ("e.hdf5", len(content)))["items"][0]
    send(operator, unsaid["url"], content, 0)
    assert "as episode 0" in outcome(operator, unsaid["url"])["message"]


def test_a_client_that_speaks_tus_alone(operator: TestClient, dataset: str, content: bytes) -> None:
    options = operator.options(f"{dataset}/uploads/files")
    assert options.headers["Tus-Extension"] == "creation,checksum,expiration,termination"
    name = base64.b64encode(b"a.hdf5").decode()

    def create(length: str, metadata: str = f"filename {name}") -> Any:
        headers = {**TUS, "Upload-Length": length, "Upload-Metadata": metadata}
        return operator.post(f"{dataset}/uploads/files", headers=headers)

    assert create(str(2**60)).headers["Tus-Max-Size"] == str(4096 * 2**20)
    for wrong, status in ((str(2**60), 413), ("9" * 30, 400), ("-1", 400), ("many", 400)):
        refusal(create(wrong), status)
    refusal(create("5", "filename !"), 400)
    evil = base64.b64encode(b"../../etc/passwd").decode()
    assert "names no file" in refusal(create("5", f"filename {evil}"), 422)["message"]
    words = base64.b64encode(b"Lift the cube.").decode()
    url = create(str(len(content)), f"filename {name},instruction {words}").headers["Location"]
    assert send(operator, url, content, 0).is_success
    assert outcome(operator, url)["state"] == "taken_in"
    other = create("10").headers["Location"]
    assert operator.delete(other, headers=TUS).status_code == 204
    assert operator.head(other, headers=TUS).status_code == 404


def test_what_is_wrong_with_a_piece_is_told_and_none_of_it_kept(
    operator: TestClient, dataset: str, studio: Studio
) -> None:
    url = announce(operator, dataset, ("a.hdf5", 10))["items"][0]["url"]
    wrong = send(operator, url, b"12345", 0, Tus_Resumable="0.2.0")
    assert (wrong.status_code, wrong.headers["Tus-Version"]) == (412, "1.0.0")
    assert operator.head(url).status_code == 412
    form = refusal(operator.patch(url, files={"file": b"12345"}, headers={**TUS, "Upload-Offset": "0"}), 415)
    assert "application/offset+octet-stream" in form["message"]
    for text in ("", "-1", "1.5", "9" * 30, "²"):
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": text.encode()}
        refusal(operator.patch(url, content=b"1", headers={**TUS, **kind}), 400)
    for place in (f"{dataset}/uploads", f"{dataset}/uploads/files"):
        told = refusal(operator.post(place, files={"file": b"12345"}, headers=TUS), 422)["message"]
        assert "--data-binary" in told
    moved = send(operator, url, b"12345", 3)
    assert (moved.status_code, moved.headers["Upload-Offset"]) == (409, "0")
    refusal(send(operator, url, b"12345", 0, Upload_Checksum=checksum(b"54321")), 460)
    for text in ("md5 AAAA", "sha256 AAAA", "sha256 !", "sha256"):
        refusal(send(operator, url, b"12345", 0, Upload_Checksum=text), 400)
    refusal(send(operator, url, b"12345678901", 0), 413)
    refusal(operator.patch(url, content=iter([b"1234567", b"8901"]), headers=_kind(0)), 413)
    assert offset(operator, url) == 0
    assert all(not path.stat().st_size for path in staged(studio))


def _kind(at: int) -> dict[str, str]:
    return {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(at)}


def test_what_arrived_is_not_what_was_sent(operator: TestClient, dataset: str, studio: Studio, content: bytes) -> None:
    listed = {"path": "a.hdf5", "size": len(content), "sha256": "0" * 64}
    file = ok(operator.post(f"{dataset}/uploads", json={"files": [listed]}))["items"][0]
    send(operator, file["url"], content, 0)
    said = outcome(operator, file["url"])
    assert said["state"] == "refused"
    assert "is not what was sent" in said["message"]
    assert not staged(studio)
    broken = announce(operator, dataset, ("b.hdf5", 5))["items"][0]
    send(operator, broken["url"], b"empty", 0)
    said = outcome(operator, broken["url"])
    assert said["message"].startswith("b.hdf5 was not accepted")
    assert said["errors"]
    assert not staged(studio)


def test_an_upload_is_its_senders_and_goes_with_its_rights(
    client: SignIn, operator: TestClient, dataset: str, studio: Studio, content: bytes
) -> None:
    with studio.db.transaction() as db:
        sender = db.query(User).filter(User.name == "operator").one()
        other = User(name="other", password_hash=sender.password_hash, role="operator")
        db.add(other)
    admin = client("admin")
    made = announce(operator, dataset, ("a.hdf5", len(content)))
    url = made["items"][0]["url"]
    with TestClient(operator.app, base_url="http://127.0.0.1:8000", headers=operator.headers) as stranger:
        ok(stranger.post("/api/auth/login", json={"name": "other", "password": "correct horse battery"}))
        assert "upload of operator" in refusal(send(stranger, url, content, 0), 403)["message"]
        assert stranger.head(url, headers=TUS).status_code == 403
        refusal(stranger.delete(f"/api/uploads/{made['id']}"), 403)
        assert ok(stranger.get(f"{dataset}/uploads"))[0]["mine"] is False
    with studio.db.transaction() as db:
        db.get_one(User, sender.id).disabled = True
    assert send(admin, url, content, 0).is_success, "an administrator may go on with it"
    assert "may not add episodes" in outcome(admin, url)["message"]


def test_uploads_are_forgotten_when_their_days_are_over(operator: TestClient, dataset: str, studio: Studio) -> None:
    made = announce(operator, dataset, ("a.hdf5", 10))
    url = made["items"][0]["url"]
    send(operator, url, b"12345", 0)
    assert service.forget_old(studio) == 0
    with studio.db.transaction() as db:
        db.get_one(Upload, made["id"]).touched_at = utc_now() - timedelta(days=7, seconds=1)
    refusal(send(operator, url, b"67890", 5), 410)
    assert service.forget_old(studio) == 1
    refusal(send(operator, url, b"67890", 5), 404)
    assert not staged(studio)
    old, new = (studio.settings.folder.staging / name for name in ("0" * 32, "1" * 32))
    for folder in (old, new):  # of uploads that no row knows
        (folder / "part").mkdir(parents=True)
    for path in (old / "part", old):
        os.utime(path, (0, 0))
    assert clear(studio) == [old]
    assert new.is_dir()
    shutil.rmtree(new)
    announce(operator, dataset, ("a.hdf5", 10))
    assert operator.delete(dataset).status_code == 204
    assert not [path for path in studio.settings.folder.staging.iterdir() if path.name != "lock"]


def test_a_folder_of_another_format_waits_for_an_import(
    client: SignIn, operator: TestClient, dataset: str, studio: Studio, content: bytes
) -> None:
    files = {"set/meta/info.json": b"{}", "set/a.hdf5": content, "set/empty": b""}
    made = announce(operator, dataset, *((path, len(data)) for path, data in files.items()), instruction="Lift.")
    assert (made["kind"], made["episode_files"]) == ("folder", 1)
    upload = f"/api/uploads/{made['id']}"
    refusal(operator.post(f"{upload}/episodes"), 409)
    for item in made["items"]:
        if item["size"]:
            assert send(operator, item["url"], files[item["path"]], 0).is_success
    until(lambda: ok(operator.get(upload))["counts"] == {"staged": 3}, 60)
    shutil.rmtree(studio.settings.folder.staged(made["id"]))  # a restore brings no uploads
    taking.settle(studio)
    for item in ok(operator.get(upload))["items"]:
        if item["size"]:
            assert (item["state"], item["received"]) == ("uploading", 0)
            assert send(operator, item["url"], files[item["path"]], 0).is_success
    until(lambda: ok(operator.get(upload))["counts"] == {"staged": 3}, 60)
    me = sender(studio)
    with folders.source_folder(me, studio, made["id"]) as (_, source):
        folder = source.path
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == files
    inode = folder.stat().st_ino
    shown = ok(operator.post(f"{upload}/import/preview", json={"profile": {"format": "act"}}))
    assert (shown["episodes"], shown["instruction"]["text"]) == (1, "Lift.")
    assert folder.stat().st_ino == inode, "an import that reads it goes on"
    assert refusal(client("viewer").post(f"{upload}/import", json={}), 403)
    job = ok(operator.post(f"{upload}/import", json={"profile": {"format": "act"}}))
    assert "set" in job["title"]
    for asked in (operator.post(f"{upload}/episodes"), operator.delete(upload)):
        assert "An import reads these files" in refusal(asked, 409)["message"]
    with studio.db.transaction() as db:
        db.get_one(Upload, made["id"]).touched_at = utc_now() - timedelta(days=30)
    assert service.forget_old(studio) == 0
    ok(operator.post(f"/api/jobs/{job['id']}/cancel"))
    assert ok(operator.post(f"{upload}/episodes"))["counts"] == {"received": 1}
    until(lambda: ok(operator.get(upload))["counts"] == {"taken_in": 1}, 60)
    assert operator.delete(upload).status_code == 204
    assert not staged(studio)


def test_episodes_to_be_looked_at_first_wait_and_are_imported_as_they_are_said_to_be(
    operator: TestClient, dataset: str, tmp_path: Path
) -> None:
    file = foreign_file(tmp_path / "silent.hdf5", drop("language_raw"), rows_of(encode_jpeg))
    content = file.read_bytes()
    made = announce(operator, dataset, (file.name, len(content)), look_first=True)
    assert (made["kind"], made["episode_files"]) == ("folder", 1)
    send(operator, made["items"][0]["url"], content, 0)
    assert outcome(operator, made["items"][0]["url"])["state"] == "staged"
    assert ok(operator.get(dataset))["episodes"] == 0
    profile = {"instruction": "Fold the shirt.", "colours": "rgb"}
    shown = ok(operator.post(f"/api/uploads/{made['id']}/import/preview", json={"profile": profile}))
    assert (shown["episode"], shown["refusals"], shown["guesses"]) == ("silent.hdf5", [], [])
    assert shown["instruction"]["text"] == "Fold the shirt."
    taken = ok(operator.post(f"/api/uploads/{made['id']}/episodes"))
    assert taken["kind"] == "episodes"
    assert "it has no instruction" in outcome(operator, made["items"][0]["url"])["message"]


def test_a_folder_is_laid_out_while_others_write(
    operator: TestClient, dataset: str, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file that somebody cancels meanwhile is not imported."""
    made = announce(operator, dataset, ("set/a.txt", 0), ("set/b.txt", 0))
    upload = f"/api/uploads/{made['id']}"
    until(lambda: ok(operator.get(upload))["counts"] == {"staged": 2}, 60)

    def meanwhile(beside: Path, files: Any) -> Path:
        assert operator.delete(made["items"][1]["url"], headers=TUS).status_code == 204
        return lay_out(beside, files)

    with monkeypatch.context() as patched:
        patched.setattr(folders, "lay_out", meanwhile)
        told = refusal(operator.post(f"{upload}/import", json={"profile": {"format": "act"}}), 409)["message"]
    assert told == "Files of this folder were cancelled meanwhile; look at it again."
    with folders.source_folder(sender(studio), studio, made["id"]) as (_, source):
        assert [path.name for path in source.path.rglob("*.txt")] == ["a.txt"]

    def gone(beside: Path, files: Any) -> Path:
        assert operator.delete(upload).status_code == 204
        return lay_out(beside, files)

    monkeypatch.setattr(folders, "lay_out", gone)
    with studio.db.transaction() as db:  # with another file, so that it is laid out anew
        db.add(UploadedFile(upload_id=made["id"], path="set/c.txt", size=0, is_episode=False, state=UploadState.STAGED))
    refusal(operator.post(f"{upload}/import", json={"profile": {"format": "act"}}), 404)
    assert not staged(studio)


def test_too_much_is_told_before_anything_is_sent(operator: TestClient, dataset: str, studio: Studio) -> None:
    most = studio.settings.max_upload_mb * 2**20
    large = announce(operator, dataset, ("a.hdf5", most + 1), ("b.hdf5", 5))
    assert large["counts"] == {"refused": 1, "uploading": 1}
    refusal(operator.post(f"{dataset}/uploads", json={"files": [{"path": "a.mp4", "size": most + 1}]}), 422)
    many = {"files": [{"path": f"{number}.hdf5", "size": most} for number in range(10_000)]}
    assert "Nothing was sent" in refusal(operator.post(f"{dataset}/uploads", json=many), 507)["message"]
    refusal(operator.post("/api/datasets/none/uploads", json={"files": [{"path": "a.hdf5", "size": 1}]}), 404)


@pytest.mark.parametrize("error", [StoreAwayError, NoReaderError])
def test_what_is_away_costs_no_file(
    operator: TestClient,
    dataset: str,
    content: bytes,
    error: type[UnavailableError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise error("it does not answer")

    monkeypatch.setattr(taking, "_LATER_SECONDS", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr(taking, "accept", away)
        made = announce(operator, dataset, ("a.hdf5", len(content)), instruction="Lift.")
        url = made["items"][0]["url"]
        assert send(operator, url, content, 0).is_success
        until(lambda: (ok(operator.get(url))["message"] or "").startswith("Waiting: "), 60)
        assert ok(operator.get(url))["state"] == "received"
    assert outcome(operator, url)["state"] == "taken_in"


def test_a_file_that_has_to_wait_keeps_no_other(
    operator: TestClient, dataset: str, studio: Studio, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {"a.hdf5": content + bytes(4096), "b.hdf5": b"unreadable", "c.hdf5": content}
    made = announce(operator, dataset, *((path, len(data)) for path, data in sent.items()), instruction="Lift.")
    urls = {item["path"]: item["url"] for item in made["items"]}
    real_accept, real_sum = taking.accept, taking.file_sha256

    def full(studio: Studio, *, file: Path, **given: Any) -> Any:
        if file.stat().st_size > len(content):
            raise DiskFullError("There is no room for it.")
        return real_accept(studio, file=file, **given)

    def broken(path: Path) -> str:
        if path.stat().st_size == 10:
            raise OSError(5, "Input/output error")
        return real_sum(path)

    monkeypatch.setattr(taking, "_LATER_SECONDS", 0.2)
    monkeypatch.setattr(taking, "accept", full)
    monkeypatch.setattr(taking, "file_sha256", broken)
    for path, data in sent.items():
        assert send(operator, urls[path], data, 0).is_success
    assert outcome(operator, urls["c.hdf5"])["state"] == "taken_in"
    waiting = [ok(operator.get(urls[path])) for path in ("a.hdf5", "b.hdf5")]
    assert [one["state"] for one in waiting] == ["received"] * 2
    assert "no room" in waiting[0]["message"]
    assert "cannot read what arrived (Input/output error)" in waiting[1]["message"]


def test_what_a_kill_left_is_seen(operator: TestClient, dataset: str, studio: Studio, content: bytes) -> None:
    """Bytes without their row's word, an episode without it, a row without bytes."""
    made = announce(operator, dataset, ("a.hdf5", len(content)), ("b.hdf5", 10), ("c.hdf5", 10))
    a, b, c = made["items"]
    folder = studio.settings.folder.staged(made["id"])
    (folder / b["id"]).write_bytes(b"12345")
    assert offset(operator, b["url"]) == 5
    with studio.db.transaction() as db:
        lost = db.get_one(UploadedFile, c["id"])
        lost.state, lost.received = UploadState.RECEIVED, 10
    until(lambda: ok(operator.get(c["url"]))["state"] == "uploading", 60)
    assert offset(operator, c["url"]) == 0
    (folder / a["id"]).write_bytes(content)
    with studio.db.transaction() as db:
        row = db.get_one(UploadedFile, a["id"])
        row.received_at = utc_now()
    listed = accept(
        studio,
        dataset_id=made["dataset_id"],
        file=folder / a["id"],
        source=EpisodeSource.UPLOADED,
        instruction="Lift the cube.",
        source_sha256=hashlib.sha256(content).hexdigest(),
    ).episode_id
    with studio.db.transaction() as db:
        db.get_one(UploadedFile, a["id"]).state = UploadState.RECEIVED
    said = outcome(operator, a["url"])
    assert (said["state"], said["episode_id"]) == ("taken_in", listed)
    d = announce(operator, dataset, ("d.hdf5", 5))["items"][0]
    (studio.settings.folder.staged(d["upload_id"]) / d["id"]).write_bytes(b"empty")
    taking.settle(studio)
    assert outcome(operator, d["url"])["state"] == "refused"
