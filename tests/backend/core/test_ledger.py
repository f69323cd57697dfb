"""What is written down after the deed: in order, told when it cannot be, and written as soon as it can."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import Database
from backend.core.ledger import Ledger, Write, not_yet
from backend.studio.context import Studio
from backend.tables.api_token import ApiToken
from backend.tables.audit_entry import AuditEntry
from tests.support.databases import make_tables
from tests.support.robot_hosts import until


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Database]:
    """A database that nobody else writes to."""
    database = Database(f"sqlite:///{tmp_path / 'alone.db'}")
    make_tables(database)
    yield database
    database.close()


def test_an_entry_that_finds_no_room_is_told_and_written_later(alone: Database) -> None:
    full = True

    def no_more_pages(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() if full else 1_000_000
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    event.listen(alone.engine, "begin", no_more_pages)
    ledger = Ledger(alone)
    large = "x" * 2_000_000
    first = ledger.write(lambda db: record(db, None, "test.first", text=large))
    assert "the disk is full" in " ".join(not_yet(first, seconds=10))
    second = ledger.write(lambda db: record(db, None, "test.second"))
    assert "the disk is full" in " ".join(not_yet(second, seconds=10)), "it waits behind the first"
    full = False
    until(lambda: _written(alone) == ["test.first", "test.second"], 30)
    ledger.close()
    assert ledger.waiting == 0


def test_of_two_entries_of_one_key_that_wait_one_is_written(studio: Studio) -> None:
    with studio.db.transaction() as db:
        db.connection()  # the writer's turn: what comes now waits
        for name in ("test.other", "test.once", "test.once"):
            studio.ledger.write(lambda db, name=name: record(db, None, name), key=name)
    until(lambda: _written(studio.db) == ["test.other", "test.once"], 30)


def _ask_for_the_lock(db: Session) -> None:
    db.connection()


def _no_such_user(db: Session) -> None:
    db.add(ApiToken(user_id="nobody", name="t", token_sha256="x"))


def _no_json(db: Session) -> None:
    record(db, None, "test.odd", value=object())


def _broken(db: Session) -> None:
    raise ZeroDivisionError("nonsense")


@pytest.mark.parametrize("write", [_no_such_user, _no_json, _broken])
def test_an_entry_that_the_database_will_not_have_is_told_as_lost_and_holds_up_nobody(
    studio: Studio, write: Write
) -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("second")
        raise ValueError("no")

    lost = studio.ledger.write(write, then=lambda: done.append("lost"))
    second = studio.ledger.write(lambda db: record(db, None, "test.second"), then=fail)
    third = studio.ledger.write(lambda db: record(db, None, "test.third"), then=lambda: done.append("third"))
    (told,) = not_yet(lost, seconds=30)
    assert told.startswith("It could not be written into the audit log (")
    assert "as soon as" not in told
    assert not_yet(second, seconds=30) == not_yet(third, seconds=30) == []
    until(lambda: done == ["second", "third"], 30)
    assert _written(studio.db) == ["test.second", "test.third"]


def test_what_comes_too_late_or_too_much_is_told_as_lost(studio: Studio) -> None:
    ledger = Ledger(studio.db)
    with studio.db.transaction() as db:
        db.connection()  # the writer's turn: what comes now waits
        waiting = [ledger.write(_ask_for_the_lock) for _ in range(1000)]
        (told,) = not_yet(ledger.write(_ask_for_the_lock), seconds=0)
        assert told == "It could not be written into the audit log (1000 others wait for the database already)."
    assert not_yet(waiting[-1], seconds=60) == []
    ledger.close()
    (told,) = not_yet(ledger.write(_ask_for_the_lock), seconds=0)
    assert told == "It could not be written into the audit log (the studio is being stopped)."


def test_what_follows_an_entry_holds_up_no_other(studio: Studio) -> None:
    """A broker that hangs while it is to be told is none of the database's."""
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait()

    first = studio.ledger.write(lambda db: record(db, None, "test.first"), then=hang)
    assert begun.wait(30)
    try:
        assert not_yet(first, seconds=30) == []
        assert not_yet(studio.ledger.write(lambda db: record(db, None, "test.second")), seconds=30) == []
    finally:
        go_on.set()


def test_while_an_entry_waits_for_long_it_is_said_so(studio: Studio) -> None:
    assert not studio.ledger.slow
    with studio.db.transaction() as db:
        db.connection()  # the writer's turn: what comes now waits
        waiting = studio.ledger.write(lambda db: record(db, None, "test.waits"))
        until(lambda: studio.ledger.slow, 30)
        assert not waiting.done()
    assert not_yet(waiting, seconds=30) == []
    until(lambda: not studio.ledger.slow, 30)


def _written(database: Database) -> list[str]:
    with database.transaction(write=False) as db:
        rows = db.query(AuditEntry).filter(AuditEntry.action.like("test.%")).order_by(AuditEntry.created_at)
        return [row.action for row in rows]
