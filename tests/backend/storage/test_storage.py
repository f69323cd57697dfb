"""A database that lost its newest rows, and files that do not belong to any: noticed, told, kept, adopted or lost."""

import dataclasses
import json
import os
import random
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import redis

from backend.core import db as database
from backend.core.db import LOG_BYTES, Database, after_commit, new_id
from backend.core.settings import Settings
from backend.intake.accept import accept
from backend.storage import mark, service
from backend.storage.housekeeper import keep_house
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow, EpisodeSource
from dexvla.errors import UserError
from tests.support.databases import make_tables
from tests.support.people import SignIn
from worker import cli
from worker.admin.verify import look_around

MakeEpisode = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path, broker_url: str) -> Settings:
    settings = Settings(data=tmp_path / "studio", redis_url=broker_url)
    settings.folder.prepare()
    return settings


def open_studio(settings: Settings) -> Studio:
    studio = Studio.open(settings)
    make_tables(studio.db)
    return studio


def take_in(studio: Studio, make_episode: MakeEpisode, folder: Path, *seeds: int, **options: object) -> list[str]:
    """Into the dataset "one"; ids of the episodes."""
    with studio.db.transaction() as db:
        row = db.query(Dataset).filter_by(name="one").one_or_none() or Dataset(name="one")
        db.add(row)
    return [
        accept(
            studio,
            dataset_id=row.id,
            file=make_episode(folder / f"{seed}.hdf5", seed=seed, **options),
            source=EpisodeSource.UPLOADED,
        ).episode_id
        for seed in seeds
    ]


def killed(settings: Settings, copy: Path) -> Settings:
    """The data folder as a kill at this moment leaves it: database, write-ahead log and all."""
    shutil.copytree(settings.data, copy)
    return Settings(data=copy, redis_url=settings.redis_url)


def test_a_lost_write_ahead_log_is_noticed_and_its_episodes_are_adopted(
    settings: Settings, make_episode: MakeEpisode, tmp_path: Path
) -> None:
    studio = open_studio(settings)
    kept = take_in(studio, make_episode, tmp_path, 0)
    studio.db.checkpoint()
    newest = take_in(studio, make_episode, tmp_path, 1, 2, 3, 4)
    mark.renew(studio)
    copy = killed(settings, tmp_path / "killed")
    studio.close()
    (copy.data / "studio.db-wal").unlink()
    (copy.data / "studio.db-shm").unlink(missing_ok=True)

    lines = look_around(copy)
    assert any("the database knows less than on" in line and "studio.db-wal" in line for line in lines), lines
    assert any(line.startswith("4 episode files have no row: adopt or move to lost/") for line in lines), lines
    assert look_around(copy) == lines, "told at every start until somebody decides"

    studio = open_studio(copy)
    assert service.adopt(studio, None, fresh_seconds=0) == "4 of 4 episode files are in the dataset Recovered."
    with studio.db.transaction(write=False) as db:
        recovered = db.query(Dataset).filter_by(name="Recovered").one()
        rows = db.query(EpisodeRow).filter_by(dataset_id=recovered.id).all()
        assert {row.original_name for row in rows} == {f"{one}.hdf5" for one in newest}
        assert db.get(EpisodeRow, kept[0]) is not None
        assert all(copy.folder.episode(recovered.id, row.id).is_file() for row in rows)
    assert service.sentence(service.look(studio, fresh_seconds=0)[0]) is None
    studio.close()
    assert look_around(copy) == []


def test_a_write_ahead_log_cut_anywhere_is_noticed(
    settings: Settings, make_episode: MakeEpisode, tmp_path: Path
) -> None:
    """SQLite goes on with what is left of it and says nothing."""
    studio = open_studio(settings)
    take_in(studio, make_episode, tmp_path, 0)
    studio.db.checkpoint()
    take_in(studio, make_episode, tmp_path, 1, 2)
    mark.renew(studio)
    copy = killed(settings, tmp_path / "killed")
    whole = (copy.data / "studio.db-wal").stat().st_size
    used = 32 + (4096 + 24) * int(
        studio.db.engine.raw_connection().execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1]  # nothing moves
    )
    studio.close()
    chance = random.Random(7)
    for number in range(6):
        again = tmp_path / f"cut-{number}"
        shutil.copytree(copy.data, again)
        (again / "studio.db-shm").unlink(missing_ok=True)
        log = again / "studio.db-wal"
        with log.open("r+b") as file:
            if number % 2:
                file.truncate(chance.randrange(0, min(whole, used) * 3 // 4))
            else:  # or damaged in the middle: everything from there on is gone
                file.seek(chance.randrange(0, min(whole, used) * 3 // 4))
                file.write(os.urandom(512))
        lines = look_around(Settings(data=again, redis_url=settings.redis_url))
        assert any("knows less" in line for line in lines) or any("no row" in line for line in lines), number


def test_an_ordinary_start_says_nothing(settings: Settings, make_episode: MakeEpisode, tmp_path: Path) -> None:
    studio = open_studio(settings)
    take_in(studio, make_episode, tmp_path, 0)
    keep_house(studio)
    copy = killed(settings, tmp_path / "killed")
    assert look_around(copy) == [], "a kill loses nothing"
    studio.close()
    assert look_around(settings) == []


@pytest.mark.parametrize("damage", ["header", "pages", "cut", "other"])
def test_a_damaged_database_is_a_sentence_about_backups(settings: Settings, tmp_path: Path, damage: str) -> None:
    studio = open_studio(settings)
    with studio.db.transaction() as db:
        db.add_all(Dataset(name=f"n{number}", description="x" * 900) for number in range(400))
    studio.close()
    path = settings.folder.database
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:16] = os.urandom(16)
    elif damage == "pages":
        for start in range(8 * 4096, len(data), 5 * 4096):
            data[start : start + 64] = os.urandom(64)
    elif damage == "cut":
        del data[len(data) // 3 + 100 :]
    else:
        data[:] = b"this is a text, and long enough to be looked at as a header of a file"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged: .*studio restore DIR"):
        mark.refuse_damaged(path)


def test_rows_without_files_are_told(settings: Settings, make_episode: MakeEpisode, tmp_path: Path) -> None:
    studio = open_studio(settings)
    (episode,) = take_in(studio, make_episode, tmp_path, 0)
    with studio.db.transaction(write=False) as db:
        settings.folder.episode(db.get_one(EpisodeRow, episode).dataset_id, episode).unlink()
    studio.close()
    assert any(f"the file of episode 0 ({episode}) is gone" in line for line in look_around(settings))


def test_episodes_of_several_robots_and_damaged_files_are_adopted_as_far_as_they_can_be(
    settings: Settings, make_episode: MakeEpisode, tmp_path: Path
) -> None:
    studio = open_studio(settings)
    folder = settings.folder.episodes / new_id()
    make_episode(folder / f"{new_id()}.hdf5", seed=1)
    make_episode(folder / f"{new_id()}.hdf5", seed=2, action_dim=10, state_dim=7, cameras=("left",))
    twins = make_episode(folder / f"{new_id()}.hdf5", seed=3), folder / f"{new_id()}.hdf5"
    shutil.copyfile(*twins)
    garbage = folder / f"{new_id()}.hdf5"
    garbage.write_bytes(os.urandom(5000))
    told = service.adopt(studio, None, fresh_seconds=0)
    assert told == "4 of 5 episode files are in the dataset Recovered; 1 could not be read and lie in lost/."
    with studio.db.transaction(write=False) as db:
        counts = {
            name: db.query(EpisodeRow).join(Dataset, Dataset.id == EpisodeRow.dataset_id).filter_by(name=name).count()
            for name in ("Recovered", "Recovered 2", "Recovered 3")
        }
    assert sorted(counts.values()) == [0, 1, 2], "whichever robot came first"
    assert counts["Recovered 3"] == 0
    lost = {path.name.rpartition("-")[2] for path in settings.folder.lost.iterdir()}
    assert lost in ({garbage.name, twin.name} for twin in twins)
    studio.close()


def test_an_administrator_decides_in_the_page(
    client: SignIn, studio: Studio, make_episode: MakeEpisode, tmp_path: Path
) -> None:
    admin = client("admin")
    assert admin.get("/api/storage").json()["strays"] == []
    old = time.time() - 600
    paths = [studio.settings.folder.episodes / new_id() / f"{new_id()}.hdf5" for _ in range(3)]
    for seed, path in enumerate(paths):
        make_episode(path, seed=seed)
        if seed < 2:
            os.utime(path, (old, old))
    studio.found.at = float("-inf")
    (told,) = admin.get("/api/storage").json()["strays"]
    assert (told["kind"], told["count"]) == ("episode", 2), "the third may be in the middle of being taken in"
    assert admin.post("/api/storage/adopt").status_code == 202
    deadline = time.monotonic() + 60
    while (answer := admin.get("/api/storage").json())["busy"]:
        assert time.monotonic() < deadline
    assert answer["note"] == "2 of 2 episode files are in the dataset Recovered."
    assert answer["strays"] == []
    os.utime(paths[2], (old, old))
    studio.found.at = float("-inf")
    studio.found.busy = True  # as while files are being adopted: they must not be moved away under it
    for path in ("adopt", "lose"):
        refused = admin.post(f"/api/storage/{path}")
        assert (refused.status_code, "wait until that is done" in refused.json()["error"]["message"]) == (409, True)
    assert paths[2].exists()
    studio.found.busy = False
    answer = admin.post("/api/storage/lose").json()
    assert answer["strays"] == []
    assert "1 was moved to lost/" in answer["note"]
    assert not paths[2].exists()


def test_the_write_ahead_log_stays_small_under_load_and_readers(settings: Settings) -> None:
    studio = open_studio(settings)
    with studio.db.transaction() as db:
        db.connection().exec_driver_sql("CREATE TABLE load (x BLOB)")
    log = settings.folder.database.with_name("studio.db-wal")

    def write(mib: int) -> None:
        for _ in range(mib):
            with studio.db.transaction() as db:
                db.connection().exec_driver_sql("INSERT INTO load VALUES (randomblob(1000000))")

    with closing(sqlite3.connect(settings.folder.database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM load").fetchone()
        write(40)
        assert studio.db.checkpoint() > 4 * LOG_BYTES, "a reader keeps what it reads"
        reader.rollback()
    studio.db.checkpoint()
    write(1)
    assert log.stat().st_size <= LOG_BYTES, "and it is given back when the reader has gone"

    with overlapping_readers(settings.folder.database):  # the log is begun anew between two of them
        for _ in range(15):
            write(5)
            studio.db.checkpoint()
    assert log.stat().st_size < 6 * LOG_BYTES, "of 75 MiB that were written"
    studio.close()


@contextmanager
def overlapping_readers(database: Path) -> Iterator[None]:
    """At every moment at least one transaction reads."""
    stopped = Event()

    def read() -> None:
        readers = [sqlite3.connect(database, check_same_thread=False) for _ in range(2)]
        while not stopped.wait(0.02):
            readers[0].execute("BEGIN")
            readers[0].execute("SELECT count(*) FROM datasets").fetchone()
            if readers[1].in_transaction:
                readers[1].rollback()
            readers.reverse()
        for reader in readers:
            reader.close()

    thread = Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_after_a_commit_all_actions_run_and_the_first_error_is_told(settings: Settings) -> None:
    studio = open_studio(settings)
    done: list[str] = []

    def fail() -> None:
        done.append("failed")
        raise UserError("told")

    def commit() -> None:
        with studio.db.transaction() as db:
            db.add(Dataset(name="one"))
            after_commit(db, fail)
            after_commit(db, lambda: done.append("second"))

    def roll_back() -> None:
        with studio.db.transaction() as db:
            after_commit(db, lambda: done.append("never"))
            raise ValueError("no")

    with pytest.raises(UserError, match="told"):
        commit()
    assert done == ["failed", "second"]
    with studio.db.transaction(write=False) as db:
        assert db.query(Dataset).count() == 1
    with pytest.raises(ValueError, match="no"):
        roll_back()
    assert done == ["failed", "second"]
    studio.close()


def test_a_broker_that_does_not_answer_holds_up_no_writer(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told after a commit is told outside the writers' turn."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 3600)  # a writer that has to wait does not give up
    studio = open_studio(settings)

    def change(studio: Studio, name: str) -> None:
        with studio.db.transaction() as db:
            db.add(Dataset(name=name))
            publish_after_commit(db, studio, "dataset", name)

    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        pool = stack.enter_context(ThreadPoolExecutor(2))
        broker = redis.Redis(unix_socket_path=str(tmp_path / "deaf.sock"))
        first = pool.submit(change, dataclasses.replace(studio, broker=broker), "first")
        told = stack.enter_context(deaf.accept()[0])
        assert told.recv(1), "it speaks to the broker"
        pool.submit(change, studio, "second").result(30)
        assert not first.done(), "it waits for the broker still"
        told.close()
        deaf.close()
        first.result(30)
    with studio.db.transaction(write=False) as db:
        assert db.query(Dataset).count() == 2
    studio.close()


def test_a_database_elsewhere_needs_no_mark(postgresql_url: str, settings: Settings) -> None:
    elsewhere = Settings(data=settings.data, redis_url=settings.redis_url, database_url=postgresql_url)
    other = Database(elsewhere.sql_url)
    make_tables(other)
    other.close()
    assert look_around(elsewhere) == []
    assert not settings.folder.mark.exists()


def test_the_command_verifies_adopts_and_loses(
    settings: Settings,
    make_episode: MakeEpisode,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def studio_verify(*options: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["studio", "verify", "--data", str(settings.data), *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    assert studio_verify() == (1, f"studio: {settings.data}: no studio has its data here; name its folder with "
                                  "STUDIO_DATA\n")  # fmt: skip
    open_studio(settings).close()
    assert studio_verify("--quick") == (0, "All files have rows, and all rows have files.\n")
    assert studio_verify()[1].splitlines()[1:] == ["All 0 files (0 MiB) are what they were."]
    old = time.time() - 600
    for seed in range(3):
        path = make_episode(settings.folder.episodes / new_id() / f"{new_id()}.hdf5", seed=seed)
        os.utime(path, (old, old))
    status, told = studio_verify()
    assert status == 1
    assert told.startswith("3 episode files have no row: --adopt takes")
    status, told = studio_verify("--json")
    assert (status, len(json.loads(told)["strays"]["episode"])) == (1, 3)
    assert studio_verify("--adopt", "--lose") == (1, "studio: --adopt or --lose, not both\n")
    status, told = studio_verify("--adopt")
    assert (status, told.splitlines()[0]) == (0, "3 of 3 episode files are in the dataset Recovered.")
    assert "All 3 files" in told
    assert studio_verify("--lose")[0] == 0
