"""Bring the database to the tables of this version: `studio up` and the compose file's migration step do it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from backend.core.db import Database
from dexvla.errors import UserError


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def known_revisions() -> list[str]:
    """Of the tables, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def revision_of(database: Database) -> str | None:
    """None for a database without tables."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database, revision: str = "head") -> None:
    """To `revision` or to the newest; never back. Raises UserError if the database was written by a newer studio."""
    known, present = known_revisions(), revision_of(database)
    if present is not None and present not in known:
        raise UserError(
            f"the database has the tables of a newer studio (revision {present}); start that version, or restore a "
            "backup that this version made"
        )
    if present != (known[0] if revision == "head" else revision):
        _alembic(database, lambda config: command.upgrade(config, revision))


def downgrade(database: Database, revision: str) -> None:
    """Back to the tables of `revision`, or forward to them; everything or nothing.

    Raises UserError for an unknown revision, and, with the database as it was, where an older studio would have no
    place for something that is in it.
    """
    known, present = known_revisions(), revision_of(database)
    if revision not in known:
        raise UserError(f"there is no revision {revision!r}; known, newest first: {', '.join(known)}")
    if present is None or present not in known or known.index(revision) <= known.index(present):
        migrate(database, revision)
    else:
        _alembic(database, lambda config: command.downgrade(config, revision))


def _alembic(database: Database, step: Callable[[Config], None]) -> None:
    config = alembic_config()
    # all steps are one transaction: Alembic would end one a step on SQLite, which can take changes of tables back, too
    with database.engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        config.attributes["connection"] = connection
        step(config)
        _refuse_broken_references(connection)


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew and dropping the old one; what refers to its rows would go with it.

    What SQLite's own instructions say (sqlite.org/lang_altertable.html, section 7): off before the transaction begins,
    everything checked before it ends.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    plain = connection.connection.driver_connection  # of SQLAlchemy's it would begin a transaction, in which it is void
    assert plain is not None
    plain.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        plain.execute("PRAGMA foreign_keys=ON")


def _refuse_broken_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise UserError(
            f"the database cannot be brought to other tables: a row of {broken[0]} refers to one of {broken[2]} that "
            "is not there; nothing was changed. Restore a backup from before that"
        )
