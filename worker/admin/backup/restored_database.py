"""The database of a snapshot, made anew beside the one in use: rows at the revision that they were taken at, brought
to this version's tables."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import MetaData, create_engine, inspect, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import Database
from backend.core.settings import Settings
from backend.migrations.migrate import migrate
from dexvla.errors import UserError
from dexvla.files import fsync_path
from worker.admin.backup import switch
from worker.admin.backup.relocate import relocate_rows
from worker.admin.backup.store import Snapshot, Store
from worker.admin.backup.tables import VERSION_TABLE, load_table, table_names


@contextmanager
def connection_to(settings: Settings) -> Iterator[Connection]:
    database = Database(settings.sql_url)
    try:
        with database.engine.connect() as connection:
            yield connection
    finally:
        database.close()


def make_sqlite(
    settings: Settings, store: Store, staging: Path, snapshot: Snapshot, name: str, *, sign_out: bool
) -> None:
    """The snapshot's database as a file in `staging`."""
    file = staging / settings.folder.database.name
    database = Database(f"sqlite:///{file}")
    try:
        migrate(database, snapshot.revision)
        plain = create_engine(f"sqlite:///{file}")  # without our foreign keys
        try:
            with plain.begin() as connection:
                _load(connection, store, snapshot, table_names(connection))
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise UserError(f"the backup is inconsistent: a row of {broken[0]} refers to a missing {broken[2]}")
        finally:
            plain.dispose()
        _settle(database, settings, snapshot, name, sign_out=sign_out)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
    finally:
        database.close()
    for left in ("-wal", "-shm"):
        Path(f"{file}{left}").unlink(missing_ok=True)
    fsync_path(file)


def make_schema(
    settings: Settings, store: Store, schema: str, snapshot: Snapshot, name: str, *, sign_out: bool
) -> None:
    """Into a schema of its own, which the switch makes the usual one."""
    with connection_to(settings) as connection:
        quote = connection.dialect.identifier_preparer.quote
        left = connection.scalars(
            text("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE :begin"),
            {"begin": f"{switch.SCHEMA.replace('_', chr(92) + '_')}%"},
        ).all()
        for one in left:  # of restores that were killed; the data folder's lock says that none is at work
            connection.execute(text(f"DROP SCHEMA {quote(one)} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {quote(schema)}"))
        connection.commit()
    url = make_url(settings.sql_url).update_query_dict({"options": f"-csearch_path={schema}"})
    database = Database(url.render_as_string(hide_password=False))
    try:
        migrate(database, snapshot.revision)
        with database.engine.begin() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            order = [table.name for table in metadata.sorted_tables if table.name != VERSION_TABLE]
            _load(connection, store, snapshot, order)
        _settle(database, settings, snapshot, name, sign_out=sign_out)
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise UserError(f"nothing was restored: the database refused its tables: {said}") from error
    finally:
        database.close()


def drop_schema(settings: Settings, schema: str) -> None:
    with contextlib.suppress(DBAPIError), connection_to(settings) as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.commit()


def _load(connection: Connection, store: Store, snapshot: Snapshot, order: list[str]) -> None:
    tables = {table.name: table for table in snapshot.tables}
    if set(tables) != set(order):
        odd = ", ".join(sorted(set(tables) ^ set(order)))
        raise UserError(f"the backup's tables are not those of revision {snapshot.revision}: {odd}")
    for name in order:
        found = load_table(connection, name, store.object(tables[name].sha256))
        if found != tables[name].rows:
            raise UserError(f"the table {name} has {found} rows, the snapshot says {tables[name].rows}")
    if connection.dialect.name == "postgresql":
        for name in order:
            _count_on(connection, name)


def _count_on(connection: Connection, table: str) -> None:
    """PostgreSQL would number new rows from 1, as those are that were loaded with their numbers."""
    quote = connection.dialect.identifier_preparer.quote
    if "id" not in {column["name"] for column in inspect(connection).get_columns(table)}:
        return
    own = text("SELECT pg_get_serial_sequence(:table, 'id')")
    sequence = connection.scalar(own, {"table": quote(table)})
    if sequence is not None:
        following = f"SELECT setval(CAST(:sequence AS regclass), COALESCE(max(id), 0) + 1, false) FROM {quote(table)}"
        connection.execute(text(following), {"sequence": sequence})


def _settle(database: Database, settings: Settings, snapshot: Snapshot, name: str, *, sign_out: bool) -> None:
    """Today's tables, this folder's paths, and jobs that ran are nobody's: they are queued again as after a crash."""
    migrate(database)
    with database.transaction() as db:
        connection = db.connection()
        if snapshot.data != str(settings.folder.root):
            relocate_rows(connection, snapshot.data, str(settings.folder.root))
        connection.execute(text("UPDATE jobs SET lease_until = 0 WHERE state IN ('running', 'cancelling')"))
        if sign_out:
            _sign_out(connection)
        _note(db, snapshot, name, sign_out=sign_out)


def _sign_out(connection: Connection) -> None:
    for table in ("login_sessions", "api_tokens", "links"):
        connection.execute(text(f"DELETE FROM {table}"))


def _note(db: Session, snapshot: Snapshot, name: str, *, sign_out: bool) -> None:
    record(db, None, "studio.restore", name[:64], made_at=snapshot.made_at, signed_out=sign_out, by="command line")
