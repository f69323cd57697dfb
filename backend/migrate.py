"""Bring the database to the tables of this version: `studio up` and the compose file's migration step do it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from backend.db import Database
from dexvla.errors import UserError


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(database: Database) -> None:
    """Raises UserError if the database was written by a newer studio."""
    config = alembic_config()
    scripts = ScriptDirectory.from_config(config)
    with database.engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if present is not None and present not in known:
        raise UserError(
            f"the database has the tables of a newer studio (revision {present}); start that version, or restore a "
            "backup that this version made"
        )
    if present == scripts.get_current_head():
        return
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
