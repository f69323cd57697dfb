"""Write the next migration from what the tables are and what the migrations so far make: new_migration.py "why"."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from backend.core.db import Database
from backend.migrations.migrate import alembic_config, migrate

if len(sys.argv) != 2:
    sys.exit('usage: new_migration.py "what changes"')
with tempfile.TemporaryDirectory() as folder:
    database = Database(f"sqlite:///{Path(folder) / 'empty.db'}")
    migrate(database)
    config = alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.revision(config, sys.argv[1], autogenerate=True)
