"""What is written down after the deed: in order, told when it cannot be, and written as soon as it can."""

from sqlalchemy import Connection, event

from backend.audit.models import AuditEntry
from backend.audit.service import record
from backend.context import Studio
from backend.ledger import not_yet
from tests.robot_hosts import until


def test_an_entry_that_finds_no_room_is_told_and_written_later(studio: Studio) -> None:
    def no_more_pages(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    event.listen(studio.db.engine, "begin", no_more_pages)
    large = "x" * 2_000_000
    first = studio.ledger.write(lambda db: record(db, None, "test.first", text=large))
    assert "the disk is full" in " ".join(not_yet(first, seconds=10))
    second = studio.ledger.write(lambda db: record(db, None, "test.second"))
    assert "the disk is full" in " ".join(not_yet(second, seconds=10)), "it waits behind the first"
    event.remove(studio.db.engine, "begin", no_more_pages)
    with studio.db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    studio.db.engine.dispose()  # the limit belongs to a connection
    until(lambda: _written(studio) == ["test.first", "test.second"], 30)
    assert studio.ledger.waiting == 0


def test_of_two_entries_of_one_key_that_wait_one_is_written(studio: Studio) -> None:
    with studio.db.transaction() as db:
        db.connection()  # the writer's turn: what comes now waits
        for name in ("test.other", "test.once", "test.once"):
            studio.ledger.write(lambda db, name=name: record(db, None, name), key=name)
    until(lambda: _written(studio) == ["test.other", "test.once"], 30)


def _written(studio: Studio) -> list[str]:
    with studio.db.transaction(write=False) as db:
        rows = db.query(AuditEntry).filter(AuditEntry.action.like("test.%")).order_by(AuditEntry.created_at)
        return [row.action for row in rows]
