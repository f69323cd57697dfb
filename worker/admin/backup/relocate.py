"""Paths of the data folder, where a backup is restored into another one.

Names inside the folder are relative wherever they can be. What holds whole paths: the specs of runs (in their row and
their files, which a resumed run compares), registered models that the studio made, payloads of jobs.
"""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.types import JSON

from dexvla.files import write_json

_TABLES = ("registered_models", "runs", "jobs", "evaluations")
_FILES = ("run.json", "dataset.json", "embodiments/*/dataset.json")


def relocate(value: Any, old: str, new: str) -> Any:
    """`value` with `new` for `old` wherever a text is a path below `old`."""
    if isinstance(value, str):
        return new + value[len(old) :] if value == old or value.startswith(f"{old}/") else value
    if isinstance(value, list):
        return [relocate(one, old, new) for one in value]
    if isinstance(value, dict):
        return {key: relocate(one, old, new) for key, one in value.items()}
    return value


def relocate_rows(connection: Connection, old: str, new: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    server = connection.dialect.name == "postgresql"
    mark = "%s" if server else "?"
    for table in _TABLES:
        columns = {column["name"]: column["type"] for column in inspect(connection).get_columns(table)}
        for name, kind in columns.items():
            is_json = isinstance(kind, JSON)
            if not is_json and name != "path":
                continue
            text = f"{quote(name)}::text" if server else quote(name)
            query = f"SELECT id, {text} FROM {quote(table)} WHERE {text} LIKE {mark}"
            # JSON may write / as \/, but no JSON that SQLAlchemy stored does
            rows = connection.exec_driver_sql(query, (f"%{json.dumps(old)[1:-1] if is_json else old}%",)).all()
            cast = "::json" if server and is_json else ""
            update = f"UPDATE {quote(table)} SET {quote(name)} = {mark}{cast} WHERE id = {mark}"
            for row_id, stored in rows:
                moved = relocate(json.loads(stored) if is_json else stored, old, new)
                connection.exec_driver_sql(update, (json.dumps(moved) if is_json else moved, row_id))


def relocate_files(root: Path, old: str, new: str) -> None:
    """In the folders of runs below `root`, which is being built; a file without such a path stays as it is."""
    for pattern in _FILES:
        for path in (root / "runs").glob(f"*/{pattern}"):
            try:
                found = json.loads(path.read_bytes())
            except ValueError:
                continue  # damaged before it was backed up
            moved = relocate(found, old, new)
            if moved != found:
                write_json(path, moved)
