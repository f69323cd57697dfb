"""The tables on SQLite and on PostgreSQL: migrations make what the models say, times and clocks agree, errors undo."""

import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from backend.core.db import Database, db_seconds
from backend.core.roles import Role
from backend.migrations.migrate import migrate
from backend.tables import Base
from backend.tables.setting import Setting
from backend.tables.user import User
from dexvla.errors import UserError


def test_migrations_make_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    migrate(database)  # nothing to do is nothing to fail for


def test_a_database_from_a_newer_studio_is_refused(database: Database) -> None:
    with database.transaction() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="newer studio"):
        migrate(database)


def test_times_come_back_in_utc(database: Database) -> None:
    made = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    with database.transaction() as db:
        db.add(User(name="ada", password_hash="", role=Role.VIEWER, created_at=made))
    with database.transaction(write=False) as db:
        found = db.scalar(select(User.created_at))
    assert found == made
    assert found.tzinfo is UTC


def test_the_databases_clock_has_fractions_and_runs(database: Database) -> None:
    with database.transaction(write=False) as db:
        first = db.scalar(select(db_seconds()))
        time.sleep(0.05)
        second = db.scalar(select(db_seconds()))
    assert first is not None
    assert second is not None
    assert abs(first - time.time()) < 5
    assert 0.03 < second - first < 5


def test_who_reads_sees_one_moment(database: Database) -> None:
    wanted = select(Setting.key).where(Setting.key == "a")
    with database.transaction(write=False) as reader:
        assert reader.scalar(wanted) is None
        with database.transaction() as db:
            db.add(Setting(key="a", value={}))
        assert reader.scalar(wanted) is None
    with database.transaction() as writer:
        assert writer.scalar(wanted) == "a"


def test_an_error_undoes_everything(database: Database) -> None:
    def half() -> None:
        with database.transaction() as db:
            db.add(Setting(key="a", value={}))
            db.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    with database.transaction(write=False) as db:
        assert db.get(Setting, "a") is None


def test_writers_wait_for_each_other(database: Database) -> None:
    """Read, think, write: no writer fails half-way, none overwrites another unseen."""
    with database.transaction() as db:
        db.add(Setting(key="count", value={"n": 0}))

    def add() -> None:
        for _ in range(5):
            with database.transaction() as db:
                row = db.get(Setting, "count", with_for_update=True)
                assert row is not None
                time.sleep(0.002)
                row.value = {"n": row.value["n"] + 1}

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction(write=False) as db:
        row = db.get(Setting, "count")
        assert row is not None
        assert row.value == {"n": 40}
