"""Databases with this version's tables, which are made step by step once a process and copied after that."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from backend.core.db import Database
from backend.migrations.migrate import migrate


def make_tables(database: Database) -> None:
    """What `migrate` does. All migrations take a tenth of a second, most of what an application's test costs."""
    url = database.engine.url
    file = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and not file.exists():
        shutil.copyfile(_tables(), file)
    else:
        migrate(database)


@cache
def _tables() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="studio-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(f"sqlite:///{folder / 'studio.db'}")
    migrate(database)
    database.close()
    assert [file.name for file in folder.iterdir()] == ["studio.db"], "its log is part of the file"
    return folder / "studio.db"
