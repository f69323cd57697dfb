"""Everything that a studio holds, in a form that two of them can be compared by."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from backend.core.db import Database
from backend.core.settings import Settings
from worker.admin.backup.needed import left_out
from worker.admin.backup.tables import read_rows, table_names, write_table

# made again or of no use elsewhere
_NOT_KEPT = ("cache/", "logs/", "valkey/", "uploads/", "studio.", "restore.json", ".restoring-", "before-restore-")


def rows_of(settings: Settings) -> dict[str, list[Any]]:
    """Table -> its columns, then its rows by primary key."""
    database = Database(settings.sql_url)
    try:
        with database.engine.connect() as connection, tempfile.TemporaryDirectory() as folder:
            return {name: _rows(connection, name, Path(folder)) for name in table_names(connection)}
    finally:
        database.close()


def _rows(connection: Any, name: str, folder: Path) -> list[Any]:
    write_table(connection, name, folder / name)
    return list(read_rows(folder / name))


def files_of(settings: Settings) -> dict[str, tuple[str, int]]:
    """Path -> sha256 and mode of every file that a backup keeps."""
    found = {}
    root = settings.folder.root
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(_NOT_KEPT) and not left_out(name):
            found[name] = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode & 0o777)
    return found
