"""kill -9 of backups and restores, at random times and at every moment that changes the disk.

KILLS=n kills so often at random (default 10), KILL_SEED=n repeats the moments of a run that failed. `make kill` kills
30 times.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backend.core.db import Database
from backend.core.settings import Settings
from tests.support import first_release as first
from tests.support.killed import killed, moments, seed, took
from tests.support.places import Place, dialect, new_database, place, server_url
from tests.support.studio_contents import files_of, rows_of
from worker.admin.backup.make import backup, verify
from worker.admin.backup.restore import restore
from worker.admin.backup.store import Store
from worker.admin.backup.switch import ASIDE, finish_here

pytestmark = pytest.mark.clockless

__all__ = ["dialect", "new_database", "place", "server_url"]

KILLS = int(os.environ.get("KILLS", "10"))
FILES = 30


def test_a_killed_backup_leaves_the_snapshots_from_before_and_what_it_stored(place: Place, tmp_path: Path) -> None:
    chance = random.Random(seed("backup"))
    settings, target = place("old"), tmp_path / "backups"
    first.make(settings)
    job = settings.folder.job(first.JOB)

    def change() -> None:
        for number in range(FILES):
            (job / f"note-{number}.txt").write_bytes(chance.randbytes(chance.randrange(2**18)))

    def work() -> None:
        backup(settings, target, keep=3)

    count = moments(work)
    change()
    whole = took(work)
    names = Store.at(target).names()
    assert len(names) == 2
    cut = 0
    for number in range(2 * KILLS):
        change()
        if number % 2:
            cut += killed(work, moment=chance.randint(1, count + FILES))
        else:
            cut += killed(work, seconds=chance.uniform(0, whole))
        store = Store.at(target)
        found = store.names()
        assert found[: len(names)] == names or len(found) >= 3, "no snapshot is lost before three others are there"
        names = found
        assert verify(target).damaged == {}
    assert cut > KILLS // 2
    shutil.rmtree(Store.at(target).tmp)  # what a killed one left there is nothing that is needed
    assert not killed(work)
    assert not list(Store.at(target).tmp.iterdir())
    new = place("new")
    restore(new, target)
    assert files_of(new).keys() == files_of(settings).keys()
    assert {path: one for path, one in files_of(new).items() if "runs" not in path} == {
        path: one for path, one in files_of(settings).items() if "runs" not in path
    }


def test_what_a_killed_backup_stored_is_not_copied_again(place: Place, tmp_path: Path) -> None:
    settings, target = place("old"), tmp_path / "backups"
    first.make(settings)
    big = settings.folder.episode(first.DATASET, first.EPISODES[0])
    with big.open("ab") as file:  # fills a batch of its own: it is flushed as soon as it is read
        file.truncate(300 * 2**20)

    def work() -> None:
        backup(settings, target)

    count = moments(lambda: backup(settings, tmp_path / "other"))
    shutil.rmtree(tmp_path / "other")
    assert killed(work, moment=count - 2)
    assert Store.at(target).names() == []
    made = backup(settings, target)
    assert made.new_bytes < 10 * 2**20


@pytest.mark.timeout(600)
def test_a_killed_restore_leaves_the_old_or_the_new(place: Place, tmp_path: Path, dialect: str) -> None:
    """Whoever starts the studio after it finds one of them, whole."""
    chance = random.Random(seed(f"restore {dialect}"))
    settings = place("studio", dialect)
    first.make(settings)
    backup(settings, tmp_path / "new")
    restore(settings, tmp_path / "new", replace=True)  # as the restored one will be: at today's tables
    new = _whole(settings)
    _clear_aside(settings)
    episode = settings.folder.episode(first.DATASET, first.EPISODES[0])
    episode.write_bytes(b"the present one")
    (settings.folder.job(first.JOB) / "present.txt").write_text("only here")
    database = Database(settings.sql_url)
    with database.transaction() as db:
        db.execute(text("UPDATE users SET name = 'present' WHERE name = 'ada'"))
    database.close()
    backup(settings, tmp_path / "old")
    old = _whole(settings)
    assert old != new

    def work() -> None:
        restore(settings, tmp_path / "new", replace=True)

    def again() -> None:
        """Back to the old."""
        restore(settings, tmp_path / "old", replace=True)
        _clear_aside(settings)
        assert _whole(settings) == old

    count = moments(work)
    again()
    whole = took(work)
    again()
    switching = 12  # the last moments, from the journal to its end, are looked at one by one
    plan: list[dict[str, Any]] = [{"moment": count - number} for number in range(switching)]
    plan += [{"moment": chance.randint(1, count - switching)} for _ in range(KILLS // 2)]
    plan += [{"seconds": chance.uniform(0, whole)} for _ in range(KILLS // 2)]
    outcomes = {"old": 0, "new": 0}
    cut = 0
    for kill in plan:
        cut += killed(work, **kill)
        finish_here(settings)  # as `studio up` does
        found = _whole(settings)
        assert found in (old, new), kill
        outcomes["old" if found == old else "new"] += 1
        if found == new:
            again()
    assert cut >= len(plan) // 2
    assert outcomes["old"] >= 5
    assert outcomes["new"] >= 5
    assert not killed(work)
    assert _whole(settings) == new
    left = [entry.name for entry in settings.folder.root.iterdir() if entry.name.startswith((".", "restore"))]
    assert left == []
    if settings.database_url is not None:
        assert _schemas(settings, "studio_restore_%") == []


def _whole(settings: Settings) -> tuple[Any, Any]:
    """Without what tells one backup or restore from another: its audit entry."""
    rows = rows_of(settings)
    columns = [name for name, _ in rows["audit"][0]]
    action = columns.index("action")
    ours = {"studio.backup", "studio.restore"}
    rows["audit"] = [row for index, row in enumerate(rows["audit"]) if index == 0 or row[action] not in ours]
    return rows, files_of(settings)


def _clear_aside(settings: Settings) -> None:
    for path in settings.folder.root.glob(f"{ASIDE}*"):
        shutil.rmtree(path)
    if settings.database_url is not None:
        database = Database(settings.sql_url)
        with database.transaction() as db:
            for schema in _schemas(settings, "before_restore_%"):
                db.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        database.close()


def _schemas(settings: Settings, like: str) -> list[str]:
    database = Database(settings.sql_url)
    try:
        with database.transaction(write=False) as db:
            query = text("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE :like")
            return list(db.scalars(query, {"like": like}))
    finally:
        database.close()


def test_a_half_restored_folder_is_refused_until_it_is_finished(place: Place, tmp_path: Path) -> None:
    settings = place("studio")
    first.make(settings)
    backup(settings, tmp_path / "backups")

    def work() -> None:
        restore(settings, tmp_path / "backups", replace=True)

    files = files_of(settings)
    last = moments(work)
    while not settings.folder.restoring.exists():
        assert last > 1
        last -= 1
        killed(work, moment=last)
    environment = {**os.environ, "STUDIO_DATA": str(settings.data)}

    def studio(*command: str) -> tuple[int, str]:
        run = [sys.executable, "-m", "worker.cli", *command]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    for command in (("user", "list"), ("api",), ("worker",), ("robot",), ("backup", str(tmp_path / "backups"))):
        status, said = studio(*command)
        assert status == 1
        assert "a restore was interrupted" in said, command
    assert studio("migrate") == (0, "")
    assert not settings.folder.restoring.exists()
    assert files_of(settings) == files
    assert studio("user", "list")[0] == 0
