"""The copy in memory of who may ask: whatever a table holds, it is read again."""

import asyncio
import threading
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from backend.core.db import utc_now
from backend.core.roles import Role
from backend.studio import directory as directory_module
from backend.studio.context import Studio
from backend.studio.directory import AnnouncedRobot, Directory, Known
from backend.tables.api_token import ApiToken
from backend.tables.robot import RobotRow
from backend.tables.user import User
from tests.support.robot_hosts import until


def test_a_row_that_cannot_be_read_ends_no_thread(studio: Studio) -> None:
    """As a newer studio may have left it."""
    with studio.db.transaction() as db:
        user = User(name="ada", password_hash="x", role=Role.OPERATOR)
        db.add(user)
        db.flush()
        db.add(ApiToken(user_id=user.id, name="t", token_sha256="a" * 64))
    directory, refreshed = Directory(studio.db), list[bool]()
    directory.on_refresh = lambda: refreshed.append(True)
    directory.start()
    try:
        assert directory.known("a" * 64) is not None
        _set_role(studio, "emperor")
        before = len(refreshed)
        until(lambda: directory.away)
        assert directory.known("a" * 64) is not None, "the last copy goes on to be believed"
        assert len(refreshed) - before <= 1, "one may have been under way"
        _set_role(studio, "viewer")
        until(lambda: (actor := directory.known("a" * 64)) is not None and actor.role is Role.VIEWER)
    finally:
        directory.close()


def test_a_person_who_was_disabled_while_somebody_looked_does_not_come_back(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory(studio.db)
    asyncio.run(_look(directory, studio, "ada", seen=utc_now()))
    read = directory_module._person

    def read_and_meanwhile(db: Session, credential: str) -> Known | None:
        found = read(db, credential)

        def disable_and_refresh() -> None:
            with studio.db.transaction() as writing:
                writing.execute(text("UPDATE users SET disabled = true"))
            directory._refresh()

        thread = threading.Thread(target=disable_and_refresh)
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(directory_module, "_person", read_and_meanwhile)
    asyncio.run(directory.find_actor("ada", seconds=30))
    directory._refresh()
    assert directory.known("ada") is None


def _set_role(studio: Studio, role: str) -> None:
    with studio.db.transaction() as db:
        db.execute(text("UPDATE users SET role = :role"), {"role": role})


async def _look(directory: Directory, studio: Studio, name: str, *, seen: datetime) -> None:
    """A host announces itself, and somebody new asks for it before the copy is made again."""
    with studio.db.transaction() as db:
        db.add(RobotRow(name=name, kind="x", address=f"{name}:1", status={}, seen_at=seen))
        user = User(name=name, password_hash="x", role=Role.OPERATOR)
        db.add(user)
        db.flush()
        db.add(ApiToken(user_id=user.id, name="t", token_sha256=name))
    found, person = await directory.find_robot(name, seconds=30), await directory.find_actor(name, seconds=30)
    assert found is not None
    assert found.address == f"{name}:1"
    assert person is not None


def test_a_robot_that_was_found_once_is_known_without_the_database(studio: Studio) -> None:
    """A second stop within the second in which it came, while the database hangs, was answered: not known before."""
    directory = Directory(studio.db)
    assert directory.robot("arm") is None
    asyncio.run(_look(directory, studio, "arm", seen=utc_now()))
    assert (known := directory.robot("arm")) is not None
    assert known.address == "arm:1"


def test_a_copy_that_was_read_before_a_robot_came_does_not_forget_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory(studio.db)
    read = directory_module._robots

    def read_and_meanwhile(db: Session, name: str | None = None) -> dict[str, AnnouncedRobot]:
        robots = read(db, name)
        if name is None:
            monkeypatch.undo()
            thread = threading.Thread(target=lambda: asyncio.run(_look(directory, studio, "late", seen=utc_now())))
            thread.start()
            thread.join()
        return robots

    monkeypatch.setattr(directory_module, "_robots", read_and_meanwhile)
    directory._refresh()
    assert directory.filled
    for _ in range(2):  # it was found; then it is read
        assert directory.robot("late") is not None
        assert directory.known("late") is not None
        directory._refresh()
    with studio.db.transaction() as db:
        db.execute(text("UPDATE users SET disabled = true"))
    directory._refresh()
    assert directory.known("late") is None, "what was found once does not outlive what is read later"
