"""A disk that is really full: signing in, deleting and robots go on, what cannot be done is refused in words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import DatabaseError
from structlog.testing import capture_logs

from backend.core import space
from backend.core.settings import Settings
from backend.intake.accept import accept
from backend.robots import service as robots
from backend.storage.housekeeper import housekeeper, keep_house
from backend.studio.context import Studio
from backend.tables.episode import EpisodeRow, EpisodeSource
from dexvla.live.status import HostStatus, RobotState
from tests.support.people import PASSWORD, SignIn
from tests.support.robot_hosts import until
from tests.support.small_disk import fill, small_disk
from worker.jobs import runner

pytestmark = pytest.mark.slow

DISK_KIB = 160 * 1024


@pytest.fixture
def settings(tmp_path: Path, broker_url: str) -> Iterator[Settings]:
    """Of a studio that has a small disk to itself, with room for the reserve."""
    (tmp_path / "studio").mkdir()
    with small_disk(tmp_path / "studio", kib=DISK_KIB):
        settings = Settings(data=tmp_path / "studio", redis_url=broker_url)
        settings.folder.prepare()
        yield settings


def announce(studio: Studio) -> None:
    with studio.db.transaction() as db:
        status = HostStatus(state=RobotState.HOLDING)
        robots.announce(db, studio, name="arm", kind="aloha_sim_live", address="127.0.0.1:1", status=status)


def test_on_a_full_disk_people_sign_in_delete_and_see_their_robots(
    client: SignIn, studio: Studio, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    operator, admin = client("operator"), client("admin")
    dataset = operator.post("/api/datasets", json={"name": "one"}).json()["id"]
    episodes = [
        accept(
            studio,
            dataset_id=dataset,
            file=make_episode(tmp_path / f"{seed}.hdf5", seed=seed),
            source=EpisodeSource.UPLOADED,
        ).episode_id
        for seed in range(2)
    ]
    keep_house(studio)
    assert studio.settings.folder.reserve.stat().st_size == space.FILE_BYTES
    large = fill(studio.settings.data)
    with pytest.raises(OSError, match="No space left"):
        (studio.settings.data / "one more").write_bytes(b"x")

    for _ in range(150):  # five minutes of a robot's announcements
        announce(studio)
    for _ in range(30):
        answer = operator.post("/api/auth/login", json={"name": "operator", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        assert operator.post("/api/auth/logout").status_code == 204
    assert operator.post("/api/auth/login", json={"name": "operator", "password": PASSWORD}).status_code == 200
    announce(studio)
    assert [robot["present"] for robot in operator.get("/api/robots").json()] == [True]
    told = operator.get("/api/health").json()
    assert (told["status"], told["database"], told["broker"]) == ("degraded", "ok", "ok")
    assert told["disk"].startswith("full, 0 MB free: delete")
    assert operator.get(f"/api/episodes/{episodes[0]}/thumbnail").status_code == 200, "made, though not kept"

    refused = operator.post(f"/api/datasets/{dataset}/episodes", content=b"x" * 1000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full")
    announced = operator.post("/api/datasets", json={"name": "two"})  # small: the reserve takes it
    assert announced.status_code == 201
    studio.space.give_up()  # as the database does when it meets the end of the disk
    fill(studio.settings.data, name="larger")
    refused = operator.post("/api/datasets", json={"name": "three"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full")
    assert "Nothing was changed" in refused.json()["error"]["message"]

    assert operator.delete(f"/api/episodes/{episodes[0]}").status_code == 204
    file = studio.settings.folder.episode(dataset, episodes[0])
    assert not file.exists()
    with studio.db.transaction(write=False) as db:
        assert db.get_one(EpisodeRow, episodes[0]).deleted_at is not None
    large.unlink()
    (studio.settings.data / "larger").unlink()
    studio.space.give_up()
    assert operator.post("/api/datasets", json={"name": "three"}).status_code == 201
    keep_house(studio)
    assert studio.settings.folder.reserve.exists(), "held again"
    assert admin.get("/api/storage").json()["disk"] == "ok"


def test_the_reserve_lasts_for_hundreds_of_changes(client: SignIn, studio: Studio) -> None:
    """Rows that stay need new pages: those that were kept back."""
    operator = client("operator")
    keep_house(studio)
    fill(studio.settings.data)
    answers = [
        operator.post("/api/datasets", json={"name": f"n{number}", "description": "x" * 1000}).status_code
        for number in range(300)
    ]
    assert answers == [201] * 300


def test_the_end_of_the_reserve_is_told_and_gives_up_the_file(client: SignIn, studio: Studio) -> None:
    """As on a file system that needs new blocks for whatever is written: the first write fails, the next one works."""
    operator = client("operator")
    keep_house(studio)
    large = fill(studio.settings.data)
    with studio.db.transaction() as db:
        db.connection().exec_driver_sql("CREATE TABLE filler (x BLOB)")

    def write_on() -> None:
        for _ in range(100):
            with studio.db.transaction() as db:
                db.connection().exec_driver_sql("INSERT INTO filler VALUES (randomblob(1000000))")

    with pytest.raises(DatabaseError, match=r"full|I/O"):
        write_on()
    assert not studio.settings.folder.reserve.exists()
    answer = operator.post("/api/auth/login", json={"name": "operator", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    large.unlink()


def test_housekeeping_goes_on_after_a_log_that_found_no_room_in_the_database(client: SignIn, studio: Studio) -> None:
    client("operator")
    keep_house(studio)
    with closing(sqlite3.connect(studio.settings.folder.database)) as reader:  # keeps it all in the log
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        with studio.db.transaction() as db:
            db.connection().exec_driver_sql("CREATE TABLE filler (x BLOB)")
            db.connection().exec_driver_sql("INSERT INTO filler VALUES (randomblob(20000000))")
        large = fill(studio.settings.data)
    with pytest.raises(DatabaseError, match=r"full|I/O"):
        studio.db.checkpoint()  # the database's file has to grow
    keeping = housekeeper(studio, every_seconds=0.01)
    with capture_logs() as logs:
        keeping.start()
        until(lambda: any(entry["event"] == "housekeeping.failed" for entry in logs))
    studio.space.give_up()
    large.unlink()
    until(studio.settings.folder.reserve.exists)  # held again
    keeping.stop()


def test_a_full_disk_is_told_where_something_was_to_be_saved(client: SignIn, studio: Studio) -> None:
    operator = client("operator")
    assert operator.post("/api/datasets", json={"name": "before"}).status_code == 201

    def no_more_pages(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    keep_house(studio)
    with studio.db.transaction() as db:  # the empty pages are used up
        empty = db.connection().exec_driver_sql("PRAGMA freelist_count").scalar_one()
        db.connection().exec_driver_sql("CREATE TABLE filler (x BLOB)")
        db.connection().exec_driver_sql(f"INSERT INTO filler VALUES (randomblob({4096 * empty}))")
    event.listen(studio.db.engine, "begin", no_more_pages)
    answers = [
        operator.post("/api/datasets", json={"name": f"n{number}", "description": "x" * 4000}) for number in range(8)
    ]
    full = next(answer for answer in answers if answer.status_code != 201)
    assert full.status_code == 507
    assert full.json()["error"]["code"] == "disk_full"
    assert "free some space" in full.json()["error"]["message"]
    names = {one["name"] for one in operator.get("/api/datasets").json()}
    assert names == {"before"} | {f"n{number}" for number, one in enumerate(answers) if one.status_code == 201}
    event.remove(studio.db.engine, "begin", no_more_pages)
    assert operator.post("/api/datasets", json={"name": "after"}).status_code == 201


def test_the_setup_link_is_kept_until_there_is_an_administrator(
    anonymous: object, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set-up whose transaction fails must not use up the link."""
    from fastapi.testclient import TestClient

    from backend.identity.secrets import setup_token

    assert isinstance(anonymous, TestClient)
    token = setup_token(studio.settings.folder.secrets)
    body = {"token": token, "name": "Ada", "password": PASSWORD}

    def fail(connection: Connection) -> None:
        if connection.get_execution_options().get("studio_turn"):  # it was to write
            raise OSError(28, "No space left on device")

    event.listen(studio.db.engine, "commit", fail)
    answer = anonymous.post("/api/auth/setup", json=body)
    event.remove(studio.db.engine, "commit", fail)
    assert answer.status_code == 507, answer.text
    assert anonymous.post("/api/auth/setup", json=body).status_code == 201


def test_files_that_cannot_be_removed_are_told(
    client: SignIn, studio: Studio, make_episode: Callable[..., Path], tmp_path: Path
) -> None:
    operator = client("operator")
    dataset = operator.post("/api/datasets", json={"name": "one"}).json()["id"]
    file = make_episode(tmp_path / "one.hdf5", seed=1)
    episode = accept(studio, dataset_id=dataset, file=file, source=EpisodeSource.UPLOADED).episode_id
    path = studio.settings.folder.episode(dataset, episode)
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    (path / "in the way" / "x").write_bytes(b"x")
    with small_disk(path / "in the way", kib=64):  # a mount point can be removed by nobody
        answer = operator.delete(f"/api/datasets/{dataset}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "files_left")
        assert "one was deleted" in answer.json()["error"]["message"]
        assert str(path) not in answer.text
    assert operator.get(f"/api/episodes/{episode}").status_code == 404


def test_a_job_that_cannot_begin_says_why_it_waits(client: SignIn, studio: Studio) -> None:
    operator = client("operator")
    job = operator.post("/api/datasets/demo", json={"name": "demo", "episodes": 1}).json()
    keep_house(studio)
    large = fill(studio.settings.data)
    assert runner.run(studio.settings, job["id"]) == runner.NOT_TO_BE_HAD
    told = operator.get(f"/api/jobs/{job['id']}").json()
    assert told["state"] == "queued"
    assert told["cause"].startswith("waits: the disk is full; free some space")
    large.unlink()
