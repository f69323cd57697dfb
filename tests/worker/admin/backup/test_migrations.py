"""Every migration with data in every table, on both databases: forward nothing is lost, back nothing is lost or
nothing is changed."""

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from fastapi.testclient import TestClient
from sqlalchemy import Boolean, Connection, DateTime, Float, Integer, LargeBinary, MetaData, Numeric, select, text
from sqlalchemy.types import JSON
from typer.testing import CliRunner

from backend.app import create_app
from backend.core.db import Database, utc_now
from backend.core.settings import Settings
from backend.migrations.migrate import alembic_config, downgrade, known_revisions, migrate, revision_of
from backend.tables.bulk_change import BulkChange, ChangeKind
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow
from dexvla.errors import UserError
from tests.support import first_release as first
from tests.support.places import Place
from tests.support.studio_contents import rows_of
from worker.admin.backup.make import backup
from worker.admin.backup.restore import restore
from worker.cli import app

Old = tuple[Settings, first.FirstRelease]
REVISIONS = known_revisions()[::-1]


@pytest.fixture
def database(old: Old) -> Iterator[Database]:
    """At the first revision, with rows in each of its tables."""
    database = Database(old[0].sql_url)
    yield database
    database.close()


def as_dicts(rows: list[Any]) -> list[dict[str, Any]]:
    names = [name for name, _ in rows[0]]
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def fill(connection: Connection) -> None:
    """One row in every table that has none: of plausible values, for it is migrated and not read by a page."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name == "alembic_version" or connection.execute(select(table).limit(1)).first() is not None:
            continue
        values: dict[str, Any] = {}
        for column in table.columns:
            key = next(iter(column.foreign_keys), None)
            if key is not None:
                values[column.name] = connection.scalar(select(key.column).limit(1))
            elif isinstance(column.type, JSON):
                values[column.name] = [{"text": "x"}]
            elif isinstance(column.type, DateTime):
                values[column.name] = (
                    utc_now() if connection.dialect.name == "postgresql" else utc_now().replace(tzinfo=None)
                )
            elif isinstance(column.type, Boolean):
                values[column.name] = True
            elif isinstance(column.type, Integer | Float | Numeric):
                values[column.name] = 1
            elif isinstance(column.type, LargeBinary):
                values[column.name] = b"x"
            else:
                values[column.name] = "x"
        connection.execute(table.insert().values(values))


def test_nothing_is_lost_on_the_way_from_the_first_tables(old: Old, database: Database) -> None:
    """Step by step: each column that stays keeps what it held."""
    for revision in REVISIONS[1:]:
        with database.engine.begin() as connection:
            fill(connection)
        before = rows_of(old[0])
        migrate(database, revision)
        after = rows_of(old[0])
        assert revision_of(database) == revision
        assert before.keys() <= after.keys(), revision
        for name, rows in before.items():
            olds, news = as_dicts(rows), as_dicts(after[name])
            assert len(olds) == len(news), (revision, name)
            kept = olds[0].keys() & news[0].keys() if olds else set()
            key = sorted(kept)
            seen = sorted(str([row[column] for column in key]) for row in news)
            assert seen == sorted(str([row[column] for column in key]) for row in olds), (revision, name)


def test_going_back_keeps_everything_or_is_refused_with_nothing_changed(old: Old, database: Database) -> None:
    """Each step back from each revision, with data in every table: forward again, all of it is there as it was."""
    refused = []
    for number in range(1, len(REVISIONS)):
        migrate(database, REVISIONS[number])
        with database.engine.begin() as connection:
            fill(connection)
        before = _told(rows_of(old[0]))
        said = _downgraded(database, REVISIONS[number - 1])
        if said is None:
            assert revision_of(database) == REVISIONS[number - 1]
            migrate(database, REVISIONS[number])
        else:
            assert "Nothing was changed" in said
            refused.append(REVISIONS[number])
            assert revision_of(database) == REVISIONS[number]
        assert _told(rows_of(old[0])) == before, REVISIONS[number]
    assert {"0d9289377767", "0003", "a738c19172c2", "5d5537f90307", "b00ffea20048"} <= set(refused), (
        "what they brought, older studios have no place for"
    )


def _told(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Without what is made anew of the rest."""
    return {name: found for name, found in rows.items() if name != "curve_blocks"}


def _downgraded(database: Database, revision: str) -> str | None:
    """What the refusal said."""
    try:
        downgrade(database, revision)
    except UserError as error:
        return str(error)
    return None


def test_a_refusal_takes_back_the_steps_before_it(old: Old, database: Database) -> None:
    migrate(database)
    with database.transaction() as db:
        db.execute(
            text("INSERT INTO preferences (user_id, page, value, updated_at) VALUES (:ada, 'live', '{}', :now)"),
            {"ada": first.ADA, "now": "2026-05-01 12:00:00.000000+00"},
        )
    before = rows_of(old[0])
    with pytest.raises(UserError, match=r"how people arranged their pages \(1\).*Nothing was changed"):
        downgrade(database, first.FIRST)
    assert revision_of(database) == REVISIONS[-1]
    assert rows_of(old[0]) == before


def test_changes_of_a_kind_that_is_new_are_no_way_back(old: Old, database: Database) -> None:
    migrate(database)
    with database.transaction() as db:
        db.add(BulkChange(dataset_id=first.DATASET, kind=ChangeKind.FACTS, parameters={}, episodes=[]))
    with pytest.raises(UserError, match=r"changes of instruction and outcome of many episodes \(1\)"):
        downgrade(database, "f540152f7d22")
    assert revision_of(database) == REVISIONS[-1]


def test_the_first_tables_are_not_dropped_with_what_they_hold(old: Old, database: Database) -> None:
    config = alembic_config()
    with database.engine.connect() as connection, connection.begin() as transaction:
        config.attributes["connection"] = connection
        with pytest.raises(UserError, match=r"older studio has no place .*episodes \(4\)"):
            command.downgrade(config, "base")
        transaction.rollback()
    assert len(rows_of(old[0])["episodes"]) == 5


def test_an_upgrade_that_nobody_used_can_be_undone(old: Old, database: Database) -> None:
    """All the way back and forth, with everything that the first release held."""
    before = rows_of(old[0])
    migrate(database)
    today = rows_of(old[0])
    done = CliRunner().invoke(
        app, ["migrate", "--data", str(old[0].data), "--to", first.FIRST], env=_environment(old[0])
    )
    assert done.exit_code == 0, done.output
    assert rows_of(old[0]) == before
    migrate(database)
    assert rows_of(old[0]) == today


def _environment(settings: Settings) -> dict[str, str]:
    return {} if settings.database_url is None else {"DATABASE_URL": settings.database_url}


def test_an_unknown_revision_is_named(old: Old, database: Database) -> None:
    with pytest.raises(UserError, match=r"there is no revision '77'; known, newest first: .*0001"):
        downgrade(database, "77")
    with database.transaction() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for revision in ("head", first.FIRST):
        with pytest.raises(UserError, match="newer studio"):
            migrate(database, revision)
    with pytest.raises(UserError, match="newer studio"):
        downgrade(database, first.FIRST)


def test_foreign_keys_hold_again_after_a_migration(place: Place) -> None:
    settings = place("old")
    first.make(settings)
    database = Database(settings.sql_url)
    migrate(database)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_a_backup_of_the_first_release_is_restored_into_this_studio(old: Old, place: Place, target: str) -> None:
    """People sign in with their passwords and find their episodes and labels, in today's terms."""
    settings, _ = old
    backups = settings.data.parent / "backups"
    assert backup(settings, backups).revision == first.FIRST
    new = place("new", target)
    done = restore(new, backups)
    assert (done.revision, done.migrated_to) == (first.FIRST, REVISIONS[-1])
    application = create_app(new)
    origin = "https://studio.example"  # as the first release was told in its settings
    with TestClient(application, base_url=origin, headers={"Origin": origin}) as browser:
        assert browser.get("/api/datasets").status_code == 401
        signed_in = browser.post("/api/auth/login", json={"name": "bob", "password": first.PASSWORD})
        assert signed_in.status_code == 200, signed_in.text
        datasets = browser.get("/api/datasets")
        assert datasets.status_code == 200, datasets.text
        assert [one["name"] for one in datasets.json()] == ["cubes"]
        listed = browser.get(f"/api/datasets/{first.DATASET}/episodes").json()
        assert [one["number"] for one in listed["items"]] == [0, 1, 2]
        assert [one["label_state"] for one in listed["items"]] == ["published", "draft", "draft"]
        labels = browser.get(f"/api/episodes/{first.EPISODES[1]}/draft").json()
        assert labels["edit"] == 5
        assert [segment["text"] for segment in labels["segments"]] == ["Reach for the cube", "抓住 the cube"]
        frame = browser.get(f"/api/episodes/{first.EPISODES[0]}/frames/cam_high/3")
        assert frame.status_code == 200
        assert frame.headers["content-type"] == "image/jpeg"
    database = Database(new.sql_url)
    with database.transaction(write=False) as db:
        draft = db.get_one(Draft, (first.EPISODES[1], Tier.SUBSTEP, 0))
        assert (draft.state, draft.assignee_id) == (WorkState.IN_PROGRESS, first.BOB)
        rows = db.scalars(select(EpisodeRow).where(EpisodeRow.deleted_at.is_(None)).order_by(EpisodeRow.number)).all()
        assert [row.seed for row in rows] == [2**40, 2**40 + 1, 2**40 + 2]
        assert [row.success for row in rows] == [True, False, None]
    database.close()
