"""A data folder whose files carry the labels that an older studio published into them goes on working."""

import json
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import select, text

from backend.app import create_app
from backend.core.db import Database
from backend.core.settings import Settings
from backend.migrations.migrate import downgrade, migrate
from backend.tables.episode import EpisodeRow
from dexvla.episodes.reader import open_episode
from tests.support import first_release as first
from tests.support.labelling_data import ok, save
from tests.support.places import Place
from worker.admin.backup.make import backup, verify
from worker.admin.backup.restore import restore
from worker.admin.verify import look_around

ORIGIN = "https://studio.example"
OLD, NEW = ("Reach for the cube",) * 12 + ("抓住 the cube",) * 12, ("Reach",) * 7 + ("Grasp it",) * 17
BEFORE = "0c35bf2a9b87"  # the last studio that wrote labels into files


def states(settings: Settings) -> dict[str, Any]:
    files = sorted(settings.folder.episodes.glob("*/*"))
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def sent(browser: TestClient, number: int, folder: Path) -> tuple[tuple[str, ...] | None, bool | None]:
    answer = browser.get(f"/api/episodes/{first.EPISODES[number]}/file")
    assert answer.status_code == 200, answer.text
    (folder / "sent.hdf5").write_bytes(answer.content)
    with open_episode(folder / "sent.hdf5") as episode:
        return episode.substep_reasonings, episode.attributes.success


def upgraded(settings: Settings, folder: Path) -> None:
    """Labelled, published and downloaded with this version."""
    before = states(settings)
    episode = f"/api/episodes/{first.EPISODES[0]}"
    with TestClient(create_app(settings), base_url=ORIGIN, headers={"Origin": ORIGIN}) as browser:
        ok(browser.post("/api/auth/login", json={"name": "ada", "password": first.PASSWORD}))
        draft = ok(browser.get(f"{episode}/draft"))
        assert (draft["published"]["number"], [one["text"] for one in draft["segments"]]) == (
            1,
            ["Reach for the cube", "抓住 the cube"],
        )
        assert sent(browser, 0, folder) == (OLD, True)
        assert ok(browser.get(f"{episode}/proposals")) == [], "published labels are no proposals"
        assert [one["source"] for one in ok(browser.get(f"/api/episodes/{first.EPISODES[2]}/proposals"))] == [
            "scripted"
        ], "its file is as it was taken in"
        edit = ok(save(browser, episode, (0, 7, "Reach"), (7, 24, "Grasp it"), success=False))["edit"]
        published = ok(browser.post(f"{episode}/publish", json={"edit": edit}))["published"]
        assert published["number"] == 2
        assert sent(browser, 0, folder) == (NEW, False)
        version = ok(browser.post(f"/api/datasets/{first.DATASET}/versions", json={}))
        manifest = ok(browser.get(f"/api/versions/{version['id']}/manifest"))
        assert [one["text"] for one in manifest["episodes"][0]["substeps"]] == ["Reach", "Grasp it"]
        older = json.loads(settings.folder.manifest(first.VERSION).read_bytes())
        assert [one["text"] for one in older["episodes"][0]["substeps"]] == ["Reach for the cube", "抓住 the cube"]
        assert browser.get(f"{episode}/frames/cam_high/3").status_code == 200
    assert states(settings) == before


def test_labels_in_files_of_an_older_studio(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    database = Database(settings.sql_url)
    migrate(database)
    with database.transaction(write=False) as db:
        rows = db.execute(select(EpisodeRow.id, EpisodeRow.file_revision))
        assert {row[0]: row[1] for row in rows if row[1] is not None} == {first.EPISODES[0]: 1}
    upgraded(settings, tmp_path)
    backup(settings, tmp_path / "backups")
    assert verify(tmp_path / "backups").damaged == {}
    again = place("again")
    restore(again, tmp_path / "backups")
    assert {name: state[0] for name, state in states(again).items()} == {
        name: state[0] for name, state in states(settings).items()
    }
    assert not [line for line in look_around(again) if "episode" in line]
    with TestClient(create_app(again), base_url=ORIGIN, headers={"Origin": ORIGIN}) as browser:
        ok(browser.post("/api/auth/login", json={"name": "ada", "password": first.PASSWORD}))
        assert sent(browser, 0, tmp_path) == (NEW, False)
    downgrade(database, BEFORE)
    with database.engine.connect() as connection:
        behind = connection.execute(text("SELECT id FROM episodes WHERE file_behind")).scalars().all()
    database.close()
    assert behind == [first.EPISODES[0]], "the older studio writes the newer labels into this file"
