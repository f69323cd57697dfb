"""A studio whose files are in a real S3 server: what people do with episodes works as with a folder."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.core import space
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.editing.service import free
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow
from tests.support.edits import edited
from tests.support.intake import stored_files
from tests.support.labelling_data import ok, save
from tests.support.s3_server import Server
from worker.admin.rehash import rehash
from worker.admin.sweeper import sweep_store

SignIn = Callable[[Role | str], TestClient]


@pytest.fixture
def settings(settings: Settings, s3: Server, request: pytest.FixtureRequest) -> Settings:
    """param: another endpoint."""
    place = s3.place(**getattr(request, "param", {}))
    store = {"store": place.url, "store_endpoint": place.endpoint, "store_key": place.key, "store_secret": place.secret}
    return settings.model_copy(update=store)


def upload(browser: TestClient, file: Path, dataset_id: str) -> Any:
    return browser.post(f"/api/datasets/{dataset_id}/episodes?name=one.hdf5", content=file.read_bytes())


def test_an_episode_comes_is_looked_at_downloaded_and_deleted(
    client: SignIn, studio: Studio, make_episode: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = client("operator")
    dataset_id = browser.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    file = make_episode(tmp_path / "one.hdf5", seed=1)
    answer = upload(browser, file, dataset_id)
    assert answer.status_code == 201, answer.text
    episode = answer.json()["episode"]
    (key,) = [one.key for one in studio.store.list("episodes")]
    assert key == f"episodes/{dataset_id}/{episode['id']}.hdf5"
    assert stored_files(studio) == [], "nothing of it fills the data folder"
    assert upload(browser, file, dataset_id).status_code == 409
    assert len(list(studio.store.list("episodes"))) == 1

    address = f"/api/episodes/{episode['id']}"
    camera = browser.get(address).json()["cameras"][0]["name"]
    for what in ("thumbnail", "motion", f"frames/{camera}/0", "pack?start=0&count=2"):
        assert browser.get(f"{address}/{what}").status_code == 200, what
    whole = browser.get(f"{address}/file")
    shutil.rmtree(studio.settings.folder.store_cache)
    part = browser.get(f"{address}/file", headers={"Range": "bytes=100-299", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[100:300]), "also out of another copy"

    assert browser.get("/api/health").json()["store"] == "ok"
    monkeypatch.setattr(space, "SCARCE_BYTES", 2**62)  # the disk of this machine is nearly full, which is not the store
    assert browser.delete(address).status_code == 204
    assert [one.key for one in studio.store.list("episodes")] == [key], "it can be brought back"
    assert sweep_store(studio) == []
    (deletion,) = browser.get(f"/api/datasets/{dataset_id}/edits").json()
    assert browser.post(f"/api/datasets/{dataset_id}/edits/{deletion['id']}/undo").status_code == 200
    assert browser.get(f"{address}/file").content == whole.content

    shutil.rmtree(studio.settings.folder.store_cache)
    edit = ok(save(browser, address, (0, episode["steps"], "lift")))["edit"]
    ok(browser.post(f"{address}/publish", json={"edit": edit}))
    fetched = [path for path in studio.settings.folder.store_cache.rglob("*") if len(path.name) == 64]
    assert fetched == [], "nothing is fetched to publish labels"


def test_an_edit_reads_from_the_store_and_writes_to_it_and_its_undo_and_end_free_what_they_may(
    client: SignIn, studio: Studio, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    browser = client("operator")
    dataset_id = browser.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    url = f"/api/datasets/{dataset_id}"
    episode = upload(browser, make_episode(tmp_path / "one.hdf5", seed=1), dataset_id).json()["episode"]
    body = {"action": "cut", "episode_ids": [episode["id"]], "first": 6, "last": 15}
    (planned,) = browser.post(f"{url}/edits/preview", json=body).json()["items"]
    assert (planned["steps"], planned["problem"]) == (14, None)
    edit = edited(browser, studio, url, tmp_path / "a", **body)
    (result,) = edit["results"]
    shared = edited(browser, studio, url, tmp_path / "b", action="copy", episode_ids=[result["episode_id"]],
                    target_name="others")["results"][0]  # fmt: skip
    assert len(list(studio.store.list("episodes"))) == 3
    assert stored_files(studio) == []
    files = [browser.get(f"/api/episodes/{one}/file") for one in (result["episode_id"], shared["episode_id"])]
    assert [one.status_code for one in files] == [200, 200]
    found = rehash(studio, mib_per_second=None, on_file=lambda found, what: None)
    assert (found.total, found.wrong, found.whole) == (3, False, True)
    with studio.db.transaction() as db:
        row = db.get_one(EpisodeRow, episode["id"])
        assert row.deleted_at is not None
        row.deleted_at -= timedelta(days=31)
    assert free(studio) == 1
    assert len(list(studio.store.list("episodes"))) == 2
    studio.store.delete([f"episodes/{dataset_id}/{result['episode_id']}.hdf5"])
    found = rehash(studio, mib_per_second=None, on_file=lambda found, what: None)
    assert [one.partition(" of ")[0] for one in found.missing] == ["episode 1"]


@pytest.mark.parametrize("settings", [{"endpoint": "http://127.0.0.1:1"}], indirect=True)
def test_without_its_store_a_studio_says_so_and_keeps_nothing(
    client: SignIn, studio: Studio, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    browser = client("operator")
    dataset_id = browser.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    answer = upload(browser, make_episode(tmp_path / "one.hdf5"), dataset_id)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_away")
    message = answer.json()["error"]["message"]
    assert message == "one.hdf5 is not looked at before it can be stored: (the store) at (its server) cannot be used at the moment (it does not answer). Nothing was changed; try again in a moment."  # fmt: skip  # noqa: E501
    assert browser.get(f"/api/datasets/{dataset_id}/episodes").json()["total"] == 0
    assert stored_files(studio) == []
    assert list(studio.settings.folder.uploads.iterdir()) == []
    health = browser.get("/api/health").json()
    assert (health["status"], health["store"]) == ("degraded", "it does not answer, or does not let the studio in")
