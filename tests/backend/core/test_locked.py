"""Somebody else holds SQLite's write lock for long: who changes something is told so in words, robots stay present."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.core import db as database
from backend.core.roles import Role
from backend.robots import presence
from backend.studio.context import Studio
from backend.tables.robot import RobotRow
from dexvla.live.status import HostStatus, RobotState
from tests.support.api_examples import call, operations
from tests.support.people import SignIn
from tests.support.small_disk import fill, small_disk

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is waited for the lock, not fifteen."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.5)


@contextmanager
def write_lock(studio: Studio) -> Iterator[None]:
    with closing(sqlite3.connect(studio.settings.folder.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def answers(browser: TestClient) -> dict[str, tuple[int, str]]:
    """Status and message of every operation, for things that do not exist; signing out comes last."""
    schema = browser.get("/api/openapi.json").json()

    def ask(name: str) -> tuple[int, str]:
        answer = call(browser, schema, name)
        try:
            return answer.status_code, answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError, json.JSONDecodeError):
            return answer.status_code, ""

    names = sorted(operations(schema), key=lambda name: "logout" in name)
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(names[:-1], pool.map(ask, names[:-1]), strict=True))
    return found | {names[-1]: ask(names[-1])}


def test_a_locked_database_is_told_by_everything_that_changes_it(client: SignIn, studio: Studio) -> None:
    admin = client(Role.ADMIN)
    with write_lock(studio):
        found = answers(admin)
    wrong = {name: one for name, one in found.items() if one[0] == 500 or (one[0] == 503 and not one[1])}
    assert wrong == {}
    busy = [name for name, (status, message) in found.items() if status == 503 and "Nothing was changed" in message]
    assert len(busy) > 40, found
    assert not [name for name in busy if name.startswith("GET")], "reading waits for nobody"


def test_a_robot_stays_present_while_its_row_cannot_be_renewed(client: SignIn, studio: Studio) -> None:
    """For as long as its host says so elsewhere."""
    viewer = client(Role.VIEWER)
    old = database.utc_now() - timedelta(seconds=20)
    status = HostStatus(state=RobotState.HOLDING, epoch=3)
    with studio.db.transaction() as db:
        db.add(RobotRow(name="arm", kind="x", address="127.0.0.1:1", status={}, seen_at=old))
    with write_lock(studio):
        assert [robot["present"] for robot in viewer.get("/api/robots").json()] == [False]
        presence.sign(studio, "arm", status)
        (robot,) = viewer.get("/api/robots").json()
        assert (robot["present"], robot["status"]["epoch"]) == (True, 3)
        assert viewer.get("/api/health").json()["robots"] == 1
        presence.withdraw(studio, "arm")
        assert [robot["present"] for robot in viewer.get("/api/robots").json()] == [False]


class TestOnAFullDisk:
    @pytest.fixture
    def settings(self, tmp_path: Path, broker_url: str) -> Iterator[object]:
        from backend.core.settings import Settings

        (tmp_path / "studio").mkdir()
        with small_disk(tmp_path / "studio", kib=32 * 1024):  # too small for a reserve
            settings = Settings(data=tmp_path / "studio", redis_url=broker_url)
            settings.folder.prepare()
            yield settings

    def test_every_operation_answers_in_words(self, client: SignIn, studio: Studio) -> None:
        admin = client(Role.ADMIN)
        with studio.db.transaction() as db:  # the log has no room left either
            db.connection().exec_driver_sql("CREATE TABLE filler (x BLOB)")
        studio.db.checkpoint()
        fill(studio.settings.data)
        studio.space.give_up()
        found = answers(admin)
        wrong = {name: one for name, one in found.items() if one[0] == 500 or (one[0] in {503, 507} and not one[1])}
        assert wrong == {}
        assert any(status == 507 for status, _ in found.values())
