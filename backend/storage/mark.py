"""Is the database all there? SQLite forgets in silence: a write-ahead log that was lost or cut takes the newest rows
along, and what is left looks sound.

`studio.mark` says beside the database how many rows of the tables that only grow were there the last time somebody
looked. A start with fewer says so.
"""

import json
import sqlite3
import time
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.core.db import utc_now
from backend.studio.context import Studio
from dexvla.errors import UserError
from dexvla.files import write_json

# Rows of these are never removed, so that the newest rowid only grows.
_GROWING = {"audit": "entries of the log of what people did", "jobs": "jobs"}
_CHECK_SECONDS = 10.0  # a database that takes longer to check is started unchecked
_CHECK_STEPS = 10_000  # of SQLite's machine, between two looks at the clock


def renew(studio: Studio) -> None:
    """Let the mark say what the database knows; what it has lost stays said. SQLite alone.

    Raises OSError, SQLAlchemyError.
    """
    if studio.db.sqlite:
        mark = _read(studio.settings.folder.mark)
        _write(studio, mark, {"forgotten": mark["forgotten"]} if mark.get("forgotten") else {})


def look(studio: Studio) -> str | None:
    """At a start: what the database has lost since the mark was written, as a sentence; None if nothing. It is told at
    every start and in the page until `settle`. Raises SQLAlchemyError."""
    if not studio.db.sqlite:
        return None
    mark = _read(studio.settings.folder.mark)
    lost = _lost(studio, mark) or mark.get("forgotten")
    with suppress(OSError):  # a full disk: the mark stays as it is, and says the same the next time
        _write(studio, mark, {"forgotten": lost} if lost else {})
    return lost


def forgotten(studio: Studio) -> str | None:
    """What `look` found."""
    return _read(studio.settings.folder.mark).get("forgotten")


def settle(studio: Studio) -> None:
    """Somebody has seen it. Raises OSError, SQLAlchemyError."""
    if studio.db.sqlite:
        _write(studio, _read(studio.settings.folder.mark), {})


def _lost(studio: Studio, mark: dict[str, Any]) -> str | None:
    try:
        before, at = {name: int(mark["rows"][name]) for name in _GROWING}, datetime.fromisoformat(mark["at"])
    except (KeyError, TypeError, ValueError):  # none yet, or damaged: nothing can be told from it
        return None
    known = _known(studio)
    lost = [f"{before[name] - known[name]} {what}" for name, what in _GROWING.items() if known[name] < before[name]]
    if not lost:
        return None
    return (
        f"the database knows less than on {at:%Y-%m-%d %H:%M} UTC: {' and '.join(lost)} are gone. Its write-ahead log "
        f"({studio.settings.folder.database.name}-wal) was lost or cut, or an older database was put in its place"
    )


def _write(studio: Studio, mark: dict[str, Any], more: dict[str, str]) -> None:
    new = {"rows": _known(studio), **more}
    if new != {name: value for name, value in mark.items() if name != "at"}:
        write_json(studio.settings.folder.mark, {**new, "at": utc_now().isoformat()})


def _known(studio: Studio) -> dict[str, int]:
    with studio.db.transaction(write=False) as db:
        return {name: db.scalar(text(f"SELECT max(rowid) FROM {name}")) or 0 for name in _GROWING}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def refuse_damaged(database: Path) -> None:
    """Look through SQLite's file, ten seconds at most. Raises UserError for one that is damaged, or no database.

    Nothing else may have it open in this process: closing it here would take the locks of others along.
    """
    if not database.is_file() or not database.stat().st_size:
        return
    deadline = time.monotonic() + _CHECK_SECONDS
    try:
        with closing(sqlite3.connect(database, timeout=5)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_STEPS)
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return
        raise OperationalError("PRAGMA quick_check", None, error) from error
    except sqlite3.DatabaseError as error:
        raise UserError(_damaged(database, str(error))) from error
    if found != ["ok"]:
        raise UserError(_damaged(database, found[0].splitlines()[-1]))


def _damaged(database: Path, why: str) -> str:
    return (
        f"the database ({database}) is damaged: {why}. Put back a backup with `studio restore DIR`; episodes and "
        f"checkpoints lie beside it as they were. Without a backup, `sqlite3 {database.name} .recover` saves what can "
        "still be read"
    )
