"""What a kill at a bad moment leaves in the data folder is cleared away, and nothing else."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.core.db import new_id, utc_now
from backend.core.leftovers import OLD_SECONDS
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.intake.accept import accept
from backend.storage import service
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.job import Job, JobState
from backend.tables.login_session import LoginSession
from backend.tables.run import Run
from backend.tables.user import User
from tests.support.databases import make_tables
from tests.support.training_data import stage_2, start
from worker.admin import sweeper as sweeping
from worker.admin.sweeper import LOST_SECONDS, forget_old_sessions, sweep

pytestmark = pytest.mark.slow


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """Without a broker: events are best effort."""
    settings = Settings(data=tmp_path / "studio", redis_url="redis://127.0.0.1:9")
    settings.folder.prepare()
    studio = Studio.open(settings)
    make_tables(studio.db)
    yield studio
    studio.close()


def let_pass(root: Path, seconds: float) -> None:
    """Make everything below `root` older."""
    then = time.time() - seconds
    for path in root.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_what_nobody_knows_stays_and_what_was_deleted_is_removed(
    studio: Studio, base_model: Path, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    folder = studio.settings.folder
    body = stage_2(studio, base_model, make_episode)
    (run_id, job_id), (other_run, other_job) = start(studio, body), start(studio, body)
    with studio.db.transaction() as db:
        dataset_id = db.get_one(DatasetVersion, body.sources[0].version_id).dataset_id
    given = make_episode(tmp_path / "given.hdf5", seed=50)
    kept_id = accept(studio, dataset_id=dataset_id, file=given, source=EpisodeSource.UPLOADED).episode_id
    kept = folder.episode(dataset_id, kept_id)
    deleted_id = accept(
        studio,
        dataset_id=dataset_id,
        file=make_episode(tmp_path / "deleted.hdf5", seed=51),
        source=EpisodeSource.UPLOADED,
    ).episode_id
    deleted = folder.episode(dataset_id, deleted_id)
    orphan = file(folder.episode(dataset_id, new_id()))
    halves = [file(orphan.with_name(f".{new_id()}.tmp")), file(folder.uploads / f"{new_id()}.hdf5")]
    halves += [file(parent / ".run.json.0123abcd.tmp") for parent in (folder.root, folder.robots, folder.run(new_id()))]
    strange = file(orphan.with_name("notes.txt"))
    log = file(folder.job(job_id) / "log.txt")
    deleted_run = file(folder.run(other_run) / "metrics.jsonl")
    checkpoint = file(folder.run(run_id) / "checkpoints" / "step-0000002" / "manifest.json")
    with studio.db.transaction() as db:
        row = db.get_one(EpisodeRow, deleted_id)
        row.deleted_at = row.freed_at = utc_now()
        db.get_one(Run, other_run).deleted_at = utc_now()
        db.get_one(Job, other_job).state = JobState.CANCELLED
        values = {"sha256": "", "size_bytes": 1, "files": [], "archive_sha256": "", "attempt": 1, "stage": 2}
        db.add(Checkpoint(run_id=run_id, step=2, deleted_at=utc_now(), deleted_why="deleted by Ada", **values))
    assert sweep(studio) == [], "all of it is younger than a day"
    let_pass(folder.root, OLD_SECONDS + 60)
    swept = set(sweep(studio))
    assert checkpoint.exists(), "its run is not over and may train that step anew"
    assert {deleted, deleted_run.parent, *halves} == swept
    assert not any(path.exists() for path in (deleted, deleted_run, *halves))
    assert all(path.exists() for path in (orphan, kept, strange, log))
    assert orphan in service.look(studio)[0]["episode"], "told, and kept"
    service.lose(studio, None)
    assert not orphan.exists()
    assert orphan.name in {path.name.rpartition("-")[2] for path in folder.lost.iterdir()}
    with studio.db.transaction() as db:
        db.get_one(Job, job_id).state = JobState.CANCELLED
    assert sweep(studio) == [checkpoint.parent]
    let_pass(folder.lost, LOST_SECONDS + 60)
    sweep(studio)
    assert list(folder.lost.iterdir()) == []


def test_leftovers_of_killed_processes_go_after_a_day(studio: Studio) -> None:
    folder = studio.settings.folder
    left = [file(folder.uploads / "a.hdf5"), file(folder.episodes / "d" / ".b.tmp")]
    kept = [file(folder.episodes / "d" / "c.hdf5"), file(folder.uploads / "new.hdf5")]
    for path in (*left, kept[0]):
        os.utime(path, (0, 0))
    assert set(sweep(studio)) == set(left)
    assert [path.exists() for path in (*left, *kept)] == [False, False, True, True]


def test_sessions_that_ended_are_forgotten_a_day_later(studio: Studio) -> None:
    with studio.db.transaction() as db:
        user = User(name="ada", role=Role.VIEWER, password_hash="")
        db.add(user)
        db.flush()
        for name, hours in (("lasts", 1), ("ended", -23), ("long ago", -25)):
            ends = utc_now() + timedelta(hours=hours)
            db.add(LoginSession(token_sha256=name, user_id=user.id, created_at=utc_now(), expires_at=ends))
    assert forget_old_sessions(studio) == 1
    with studio.db.transaction(write=False) as db:
        assert set(db.scalars(select(LoginSession.token_sha256))) == {"lasts", "ended"}


def gone(path: Path) -> None:
    deadline = time.monotonic() + 60
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_sweeper_comes_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker runs for months."""
    monkeypatch.setattr(sweeping, "_EVERY_SECONDS", 0.01)
    one = file(studio.settings.folder.uploads / "one.hdf5")
    os.utime(one, (0, 0))
    at_work = sweeping.sweeper(studio)
    at_work.start()
    try:
        gone(one)
        another = file(studio.settings.folder.uploads / "another.hdf5")
        os.utime(another, (0, 0))
        gone(another)
    finally:
        at_work.stop()


def test_what_cannot_be_removed_is_not_called_removed(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user; and one that another worker's sweeper removes meanwhile stops nothing."""
    folder = studio.settings.folder
    kept, gone_, last = folder.uploads / "a", folder.uploads / "b", file(folder.uploads / "c.hdf5")
    for path in (kept, gone_):
        file(path / "part")
    let_pass(folder.uploads, OLD_SECONDS + 60)
    real = shutil.rmtree

    def rmtree(path: Path, *rest: object, **options: object) -> None:
        if path == kept:
            raise PermissionError(13, "Permission denied")
        real(path)
        if path == gone_:
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert set(sweep(studio)) == {gone_, last}
    assert kept.exists()
