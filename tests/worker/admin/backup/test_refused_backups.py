"""A backup that is damaged, or a newer studio's, and a place that is full or no place for one: told in words, with
nothing changed."""

import os
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from backend.core.db import Database
from backend.core.settings import Settings
from dexvla.errors import UserError
from tests.support import first_release as first
from tests.support.places import Place
from tests.support.small_disk import small_disk
from tests.support.studio_contents import files_of
from worker.admin.backup.make import backup, verify
from worker.admin.backup.restore import restore
from worker.admin.backup.store import Store
from worker.cli import app

Old = tuple[Settings, first.FirstRelease]


def test_a_damaged_backup_is_refused_with_the_files_that_it_concerns(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    made = backup(settings, tmp_path / "backups")
    store = Store.at(tmp_path / "backups")
    snapshot = store.load()[1]
    episode = f"episodes/{first.DATASET}/{first.EPISODES[1]}.hdf5"
    flipped = store.object(next(entry.sha256 for entry in snapshot.files if entry.path == episode))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    log = f"jobs/{first.JOB}/log.txt"
    store.object(next(entry.sha256 for entry in snapshot.files if entry.path == log)).unlink()
    found = verify(tmp_path / "backups")
    assert found.damaged == {made.snapshot: {episode: "holds other bytes", log: "is missing"}}
    ran = CliRunner().invoke(app, ["backup", str(tmp_path / "backups"), "--verify"])
    assert ran.exit_code != 0
    new = place("new")
    with pytest.raises(UserError, match=r"2 files of the snapshot .* are damaged") as told:
        restore(new, tmp_path / "backups")
    assert episode in str(told.value)
    assert log in str(told.value)
    assert [entry.name for entry in new.folder.root.iterdir()] == ["studio.lock"]
    files = files_of(settings)
    with pytest.raises(UserError, match="damaged"):
        restore(settings, tmp_path / "backups", replace=True)
    assert files_of(settings) == files
    done = restore(new, tmp_path / "backups", leave_out_damaged=True)
    assert done.left_out == [episode, log]
    assert files_of(new).keys() == files.keys() - {episode, log}
    again = backup(settings, tmp_path / "backups")  # what is missing or too short is stored again
    assert again.new_files == 1


def test_a_damaged_table_or_snapshot_is_refused(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    good = backup(settings, tmp_path / "backups").snapshot
    (settings.folder.job(first.JOB) / "log.txt").write_text("more")
    bad = backup(settings, tmp_path / "backups").snapshot
    store = Store.at(tmp_path / "backups")
    file = store.snapshots / f"{bad}.json"
    file.write_bytes(file.read_bytes().replace(b"episode", b"episodE", 1))
    with pytest.raises(UserError, match=f"{bad} is damaged.*{good}"):
        restore(place("new"), tmp_path / "backups")
    with pytest.raises(UserError, match=r"was made, but older ones were not removed: .* is damaged"):
        backup(settings, tmp_path / "backups", keep=2)  # what would have to stay cannot be told
    assert len(store.names()) == 3
    table = next(table for table in store.load(good)[1].tables if table.name == "users")
    store.object(table.sha256).write_bytes(b"no table")
    with pytest.raises(UserError, match="its table users is damaged"):
        restore(place("new"), tmp_path / "backups", snapshot=good)


def test_a_full_backup_disk_is_one_sentence_and_the_snapshots_stay_whole(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    target = tmp_path / "disk"
    target.mkdir()
    with small_disk(target, kib=1600):
        made = backup(settings, target / "backups")
        (settings.folder.run(first.RUN) / "tensorboard").mkdir()
        big = settings.folder.run(first.RUN) / "tensorboard" / "events"
        big.write_bytes(os.urandom(4 * 2**20))
        with pytest.raises(UserError, match=r"No space left on device.*the snapshots from before are whole"):
            backup(settings, target / "backups")
        store = Store.at(target / "backups")
        assert store.names() == [made.snapshot]
        assert list(store.tmp.iterdir()) == []
        assert verify(target / "backups").damaged == {}
        big.unlink()
        backup(settings, target / "backups", keep=1)
        assert len(store.names()) == 1
        restore(place("new"), target / "backups")
        with small_disk(_made(tmp_path / "small"), kib=300), pytest.raises(UserError, match="MiB are free"):
            restore(Settings(data=tmp_path / "small" / "data"), target / "backups")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_places_that_are_no_place_for_a_backup_are_refused(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    with pytest.raises(UserError, match="no studio's data is there"):
        backup(settings, tmp_path / "backups")
    first.make(settings)
    for inside in (settings.folder.root / "backups", tmp_path):
        with pytest.raises(UserError, match="lies in the data folder, or around it"):
            backup(settings, inside)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        backup(settings, tmp_path / "home")
    with pytest.raises(UserError, match="no backups of a studio are in it"):
        restore(place("new"), tmp_path / "home")
    with pytest.raises(UserError, match="there is no such folder"):
        restore(place("new"), tmp_path / "nowhere")
    with Store.prepared(tmp_path / "backups").locked(), pytest.raises(UserError, match="another backup is being made"):
        backup(settings, tmp_path / "backups")
    with pytest.raises(UserError, match="holds no finished backup yet"):
        restore(place("new"), tmp_path / "backups")


def test_what_a_newer_studio_made_is_refused(old: Old, place: Place, tmp_path: Path) -> None:
    settings, _ = old
    backup(settings, tmp_path / "backups")
    store = Store.at(tmp_path / "backups")
    name, snapshot = store.load()
    (store.snapshots / f"{name}.json").unlink()
    store.publish(snapshot.model_copy(update={"revision": "9999", "version": "99.0"}))
    with pytest.raises(UserError, match=r"made by a newer studio \(99.0, revision 9999\)"):
        restore(place("new"), tmp_path / "backups")
    database = Database(settings.sql_url)
    with database.transaction() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(UserError, match="tables of a newer studio"):
        backup(settings, tmp_path / "backups")
