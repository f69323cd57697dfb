"""A backup holds what the studio holds, and a restore gives it back: on SQLite, on PostgreSQL, and from one to the
other."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from backend.core.db import Database, utc_now
from backend.core.folders import DataFolder
from backend.core.settings import Settings
from backend.migrations.migrate import known_revisions, migrate
from backend.tables.curve_block import CurveBlock
from backend.tables.draft import Draft
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import PUBLISHED, LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.segment import LabelSegment, Provenance
from dexvla.errors import UserError
from tests.support import first_release as first
from tests.support.places import Place
from tests.support.studio_contents import files_of, rows_of
from worker.admin.backup import make, needed
from worker.admin.backup.make import backup, verify
from worker.admin.backup.restore import restore
from worker.admin.backup.store import Snapshot, Store
from worker.cli import app
from worker.core.data_lock import locked

_OURS = {"studio.backup", "studio.restore"}
Old = tuple[Settings, first.FirstRelease]


def today(settings: Settings) -> None:
    database = Database(settings.sql_url)
    migrate(database)
    database.close()


def without_audit(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A backup and a restore add entries of their own, and a restore frees the jobs that ran."""
    kept = dict(rows)
    columns = [name for name, _ in kept["audit"][0]]
    action = columns.index("action")
    kept["audit"] = [kept["audit"][0], *(row for row in kept["audit"][1:] if row[action] not in _OURS)]
    lease = [name for name, _ in kept["jobs"][0]].index("lease_until")
    kept["jobs"] = [row if index == 0 else [*row[:lease], *row[lease + 1 :]] for index, row in enumerate(kept["jobs"])]
    return kept


def labels_go_on(settings: Settings) -> None:
    """New texts, labels of an episode that had none and a publication find numbers of their own."""
    made: dict[str, Any] = {
        "edit": 6,
        "instruction": "",
        "segments": (LabelSegment(0, first.STEPS, "Wave", Provenance.HUMAN),),
    }
    database = Database(settings.sql_url)
    with database.transaction() as db:
        known = set(db.scalars(select(LabelText.id)))
        assert known
        db.add(Draft(episode_id=first.EPISODES[2], updated_at=utc_now(), **made))
        db.flush()
        db.add(LabelRevision(episode_id=first.EPISODES[1], number=1, **made))
        db.flush()
        (wave,) = db.scalars(select(LabelText).where(LabelText.text == "Wave"))
        assert wave.id not in known
        places = select(LabelSet.episode_id, LabelSet.layer).join(SetSegment).where(SetSegment.text_id == wave.id)
        assert {tuple(row) for row in db.execute(places)} == {(first.EPISODES[2], 0), (first.EPISODES[1], PUBLISHED)}
    database.close()


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_what_was_backed_up_comes_back_on_either_database(old: Old, place: Place, tmp_path: Path, target: str) -> None:
    settings, _ = old
    today(settings)
    made = backup(settings, tmp_path / "backups")
    assert made.missing == []
    assert made.outside == ["/models/Qwen2-VL-2B-Instruct"]
    shutil.copytree(settings.folder.root, tmp_path / "kept", symlinks=True)
    before, files = rows_of(settings), files_of(settings)
    shutil.move(settings.folder.root, tmp_path / "gone")  # the same folder: no path has to be changed
    new = place("old", target)
    done = restore(new, tmp_path / "backups")
    assert done.rows == made.rows == sum(len(rows) - 1 for rows in before.values()) - 1, "all but the backup's entry"
    assert without_audit(rows_of(new)) == without_audit(before)
    assert files_of(new) == files
    assert len(files) == 17
    assert (new.folder.secrets / "robot-host").stat().st_mode & 0o777 == 0o600
    assert new.folder.secrets.stat().st_mode & 0o777 == 0o700
    assert not (new.folder.robots / "aloha-sim.stop.json").exists(), "an old word on a stop is worse than none"
    assert [row[1:] for row in rows_of(new)["audit"][1:] if "studio.restore" in row], "it is written down"
    labels_go_on(new)


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_bytes_in_rows_come_back_letter_by_letter(place: Place, tmp_path: Path, target: str) -> None:
    settings = place("old", "postgresql" if target == "sqlite" else "sqlite")
    first.make(settings)
    today(settings)
    data = bytes(range(256)) * 3
    block = CurveBlock(run_id=first.RUN, level=3, last_step=99, first_step=1, number=7, names=["loss"], data=data)
    database = Database(settings.sql_url)
    with database.transaction() as db:
        db.add(block)
    database.close()
    backup(settings, tmp_path / "backups")
    new = place("new", target)
    restore(new, tmp_path / "backups")
    database = Database(new.sql_url)
    with database.transaction(write=False) as db:
        assert db.get_one(CurveBlock, (first.RUN, 3, 99)).data == data
    database.close()


def test_only_what_is_new_is_stored_and_what_is_unchanged_is_not_read(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    then = 1_700_000_000
    for path in settings.folder.root.rglob("*"):
        os.utime(path, (then, then))
    store = Store.prepared(tmp_path / "backups")
    made = backup(settings, tmp_path / "backups")
    objects = sorted(path.name for path in store.objects.rglob("*") if path.is_file())
    _age(store)
    again = backup(settings, tmp_path / "backups")
    assert (again.new_files, again.new_bytes, again.read_bytes) == (0, 0, 0)
    assert sorted(path.name for path in store.objects.rglob("*") if path.is_file()) == objects
    changed = settings.folder.episode(first.DATASET, first.EPISODES[0])
    changed.write_bytes(changed.read_bytes() + b"x")
    third = backup(settings, tmp_path / "backups")
    assert (third.new_files, third.new_bytes) == (1, changed.stat().st_size)
    assert third.read_bytes in {changed.stat().st_size * looks for looks in (1, 2)}
    assert made.snapshot < again.snapshot < third.snapshot


def test_a_backup_is_in_the_audit_log_and_counts_where_that_cannot_be_written(old: Old, tmp_path: Path) -> None:
    settings, _ = old
    before = backup(settings, tmp_path / "backups")
    assert before.notes == ["the backup is not in the audit log, which is of an older studio"]
    today(settings)
    made = [backup(settings, tmp_path / "backups", keep=1) for _ in range(2)]
    assert made[1].notes == []
    header, *rows = rows_of(settings)["audit"]
    names = [name for name, _ in header]
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    ours = [one for one in entries if one["action"] == "studio.backup"]
    assert sorted(one["subject"] for one in ours) == [one.snapshot[:64] for one in made]
    assert made[1].new_files == 1, "of the database's tables only the log has changed"


def test_the_newest_snapshot_is_the_last_one_also_after_the_clock_was_set_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = place("old")
    first.make(settings)
    log = settings.folder.job(first.JOB) / "log.txt"
    begun = utc_now()
    made = []
    for hours in (0, -1, -2):
        monkeypatch.setattr(make, "utc_now", lambda hours=hours: begun + timedelta(hours=hours))
        log.write_text(f"set by {hours} hours\n")
        made.append(backup(settings, tmp_path / "backups", keep=2))
    assert [one.removed for one in made] == [[], [], [made[0].snapshot]]
    restored = place("new")
    restore(restored, tmp_path / "backups")
    assert (restored.folder.job(first.JOB) / "log.txt").read_text() == "set by -2 hours\n"


def _age(store: Store) -> None:
    """Let the last snapshot know the files by their facts, as it does once they are older than two seconds."""
    name, snapshot = store.load()
    aged = []
    for entry in snapshot.files:
        found = (Path(snapshot.data) / entry.path).stat()
        facts = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
        aged.append(entry.model_copy(update={"facts": facts}))
    (store.snapshots / f"{name}.json").unlink()
    store.publish(snapshot.model_copy(update={"files": aged}))


def test_a_moved_data_folder_is_hashed_again_and_not_copied_again(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    backup(settings, tmp_path / "backups")
    shutil.copytree(settings.folder.root, tmp_path / "copy")
    shutil.rmtree(settings.folder.root)
    shutil.copytree(tmp_path / "copy", settings.folder.root)
    again = backup(settings, tmp_path / "backups")
    assert (again.new_files, again.new_bytes) == (0, 0)


def test_older_snapshots_and_what_only_they_needed_are_removed(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    log = settings.folder.job(first.JOB) / "log.txt"
    for number in range(4):
        log.write_text(f"log {number}\n" * 100)
        made = backup(settings, tmp_path / "backups", keep=2)
    assert len(made.removed) == 1
    store = Store.at(tmp_path / "backups")
    assert len(store.names()) == 2
    needed_objects = {sha256 for name in store.names() for sha256 in store.load(name)[1].objects()}
    assert {path.name for path in store.objects.rglob("*") if path.is_file()} == needed_objects
    assert verify(tmp_path / "backups").damaged == {}
    ran = CliRunner().invoke(app, ["backup", str(tmp_path / "backups"), "--prune-only", "--keep", "1"])
    assert ran.exit_code == 0
    assert store.names() == [made.snapshot]
    restored = place("new")
    restore(restored, tmp_path / "backups")
    assert (restored.folder.job(first.JOB) / "log.txt").read_text() == "log 3\n" * 100


def test_paths_of_the_data_folder_follow_it(old: Old, place: Place, tmp_path: Path, dialect: str) -> None:
    settings, _ = old
    backup(settings, tmp_path / "backups")
    new = place("elsewhere", dialect)
    restore(new, tmp_path / "backups")
    database = Database(new.sql_url)
    with database.transaction(write=False) as db:
        path = db.scalar(text("SELECT path FROM registered_models WHERE name = 'Tiny'"))
        other = db.scalar(text("SELECT path FROM registered_models WHERE name = 'Qwen'"))
        spec = db.scalar(text("SELECT CAST(spec AS text) FROM runs"))
        origin = db.scalar(text("SELECT CAST(origin AS text) FROM runs"))
    database.close()
    assert path == str(new.folder.models / first.MODEL)
    assert other == "/models/Qwen2-VL-2B-Instruct"
    wanted = {"output_dir": str(new.folder.run(first.RUN)), "data": [{"path": str(new.folder.manifest(first.VERSION))}]}
    assert json.loads(spec) == wanted
    assert json.loads((new.folder.run(first.RUN) / "run.json").read_text()) == wanted | {"stage": 2}
    assert json.loads(origin) == {"base_model": {"path": path}}


def test_jobs_that_ran_are_nobodys_and_people_may_be_signed_out(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    backup(settings, tmp_path / "backups")
    new = place("new")
    restore(new, tmp_path / "backups", sign_out=True)
    rows = rows_of(new)
    assert [len(rows[name]) for name in ("login_sessions", "api_tokens", "links", "users")] == [1, 1, 1, 3]
    lease = [name for name, _ in rows["jobs"][0]].index("lease_until")
    assert [row[lease] for row in rows["jobs"][1:]] == [0, None, None], "the first one ran"


def test_a_full_folder_is_put_aside_only_if_told_to(old: Old, place: Place, tmp_path: Path) -> None:
    settings, _ = old
    backup(settings, tmp_path / "backups")
    files = files_of(settings)
    with pytest.raises(UserError, match=r"is not empty .*--replace"):
        restore(settings, tmp_path / "backups")
    assert files_of(settings) == files
    episode = settings.folder.episode(first.DATASET, first.EPISODES[0])
    episode.write_bytes(b"newer than the backup")
    done = restore(settings, tmp_path / "backups", replace=True)
    assert files_of(settings) == files
    aside = Path(done.aside[0])
    assert (aside / episode.relative_to(settings.folder.root)).read_bytes() == b"newer than the backup"
    assert (aside / "cache" / "thumbnail.jpg").exists()
    if settings.database_url is not None:
        schema = done.aside[1].split()[1]
        database = Database(settings.sql_url)
        with database.transaction(write=False) as db:
            assert db.scalar(text(f"SELECT count(*) FROM {schema}.episodes")) == 4
            assert db.scalar(text("SELECT count(*) FROM episodes")) == 4
            assert db.scalar(text(f"SELECT version_num FROM {schema}.alembic_version")) == first.FIRST
        database.close()
        with pytest.raises(UserError, match="the database is not empty"):
            restore(Settings(data=tmp_path / "third", database_url=settings.database_url), tmp_path / "backups")
    again = restore(settings, tmp_path / "backups", replace=True)  # and once more, beside what lies aside already
    assert again.aside[0] != done.aside[0]
    assert files_of(settings) == files


def test_a_studio_that_works_is_not_replaced(old: Old, tmp_path: Path) -> None:
    settings, _ = old
    backup(settings, tmp_path / "backups")
    files = files_of(settings)
    with locked(settings.folder), pytest.raises(UserError, match="another studio is running"):
        restore(settings, tmp_path / "backups", replace=True)
    with _held_open(settings), pytest.raises(UserError, match="stop the API, workers and robot hosts"):
        restore(settings, tmp_path / "backups", replace=True)
    assert files_of(settings) == files
    restore(settings, tmp_path / "backups", replace=True)


_HOLD = """
import sys
from sqlalchemy import select, text
from backend.core.db import Database, utc_now

with Database(sys.argv[1]).engine.connect() as connection:
    connection.execute(text("SELECT count(*) FROM users"))
    connection.rollback()
    print("open", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held_open(settings: Settings) -> Iterator[None]:
    """Another process with the database open, as an API has it."""
    command = [sys.executable, "-c", _HOLD, settings.sql_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"open\n"
        yield
        process.stdin.close()
        process.wait(30)


def test_files_that_the_database_misses_are_told_and_the_rest_is_kept(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    gone = settings.folder.episode(first.DATASET, first.EPISODES[2])
    gone.unlink()
    weights = settings.folder.run(first.RUN) / "checkpoints" / "step-0000002" / "model.safetensors"
    weights.write_bytes(b"\1" + weights.read_bytes()[1:])
    made = backup(settings, tmp_path / "backups")
    assert {entry.what: entry.why for entry in made.missing} == {
        "episode 2 of cubes": "is not there",
        "checkpoint of pick cube at step 2": "is not what was saved (its sha256 is another)",
    }
    ran = CliRunner().invoke(app, ["restore", str(tmp_path / "backups"), "--to", str(tmp_path / "new")])
    assert ran.exit_code == 0, ran.output
    assert "was not in the backup: episode 2 of cubes" in ran.output


def test_every_part_of_a_data_folder_is_taken_or_left_out_for_a_reason(tmp_path: Path) -> None:
    """Whoever adds a folder decides about its backup."""
    parts = {
        value.name
        for value in vars(DataFolder(tmp_path)).values()
        if isinstance(value, Path) and value.parent == tmp_path and value.name != "restore.json"
    }
    assert parts == needed.TAKEN.keys() | needed.LEFT_OUT.keys()


def test_the_commands_write_what_programs_read(place: Place, tmp_path: Path) -> None:
    settings = place("old")
    first.make(settings)
    runner, report = CliRunner(), tmp_path / "report.json"
    options = ["--data", str(settings.data), "--json", str(report)]
    ran = runner.invoke(app, ["backup", str(tmp_path / "backups"), *options])
    assert ran.exit_code == 0, ran.output
    made = json.loads(report.read_text())
    assert (made["files"], made["revision"], made["missing"]) == (17, first.FIRST, [])
    ran = runner.invoke(app, ["backup", str(tmp_path / "backups"), "--list", "--json", str(report)])
    assert [one["snapshot"] for one in json.loads(report.read_text())] == [made["snapshot"]]
    ran = runner.invoke(app, ["backup", str(tmp_path / "backups"), "--verify", "--json", str(report)])
    assert json.loads(report.read_text())["damaged"] == {}
    ran = runner.invoke(
        app, ["restore", str(tmp_path / "backups"), "--to", str(tmp_path / "new"), "--json", str(report)]
    )
    done = json.loads(report.read_text())
    assert (done["files"], done["revision"], done["migrated_to"]) == (17, first.FIRST, known_revisions()[0])
    assert Snapshot.model_validate_json((tmp_path / "backups/snapshots" / f"{made['snapshot']}.json").read_bytes())
