"""Alembic's entry: migrates the database whose connection or URL it is given (see backend.migrations.migrate)."""

from alembic import context
from sqlalchemy import Connection

from backend.core.db import Database
from backend.core.settings import Settings
from backend.tables import Base


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with Database(Settings().sql_url).engine.connect() as connection:
        _run(connection)
        connection.commit()
