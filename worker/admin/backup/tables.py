"""The database as plain tables, from and to SQLite and PostgreSQL.

A table is a gzip file of JSON lines: a header {"columns": [[name, kind], ...]}, then a row a line, in the order of the
primary key. kinds: text, number, bool, bytes (base64), time (UTC, ISO 8601) and json, whose text is kept letter by
letter, so that SQL's NULL and JSON's null stay two things. It is read by what the database says of itself and not by
this version's models: a database that an older studio left is backed up as it is, and migrated when it is restored.
"""

import base64
import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Boolean, Connection, DateTime, Float, Integer, LargeBinary, Numeric, String, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import JSON, TypeEngine

from dexvla.errors import UserError

VERSION_TABLE = "alembic_version"
_ROWS = 1000  # at once
_LEVEL = 3  # of compression: JSON shrinks to a tenth already

Columns = list[tuple[str, str]]


def table_names(connection: Connection) -> list[str]:
    """Of all tables but Alembic's own."""
    return sorted(name for name in inspect(connection).get_table_names() if name != VERSION_TABLE)


def columns_of(connection: Connection, table: str) -> Columns:
    return [(column["name"], _kind(table, column["type"])) for column in inspect(connection).get_columns(table)]


def _kind(table: str, kind: TypeEngine[Any]) -> str:
    for types, name in (
        ((JSON,), "json"),
        ((DateTime,), "time"),
        ((Boolean,), "bool"),
        ((Integer, Float, Numeric), "number"),
        ((String,), "text"),
        ((LargeBinary,), "bytes"),
    ):
        if isinstance(kind, types):
            return name
    raise UserError(f"the table {table} has a column of the type {kind!r}, which backups do not know")


def write_table(connection: Connection, table: str, target: Path) -> int:
    """Write the table as it is in the connection's transaction. Returns the number of its rows."""
    columns = columns_of(connection, table)
    quote = connection.dialect.identifier_preparer.quote
    texts = connection.dialect.name == "postgresql"
    wanted = ", ".join(f"{quote(name)}::text" if texts and kind == "json" else quote(name) for name, kind in columns)
    order = inspect(connection).get_pk_constraint(table)["constrained_columns"] or [name for name, _ in columns]
    query = f"SELECT {wanted} FROM {quote(table)} ORDER BY {', '.join(map(quote, order))}"
    convert = [_OUT.get(kind) for _, kind in columns]
    rows = 0
    with _writing(target) as file:
        file.write(json.dumps({"columns": columns}) + "\n")
        for row in connection.execution_options(yield_per=_ROWS).exec_driver_sql(query):
            values = [
                value if one is None or value is None else one(value) for one, value in zip(convert, row, strict=True)
            ]
            file.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")
            rows += 1
    return rows


@contextmanager
def _writing(target: Path) -> Iterator[IO[str]]:
    """Without names and times in it: the same rows give the same bytes, and are stored once."""
    with (
        target.open("xb") as plain,
        gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=_LEVEL, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", errors="strict", newline="\n") as file,
    ):
        yield file


def _time_out(value: datetime | str) -> str:
    """PostgreSQL gives aware times, SQLite the text that SQLAlchemy stored, in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)).isoformat()


def _bytes_out(value: bytes | memoryview) -> str:
    return base64.b64encode(value).decode()


_OUT: dict[str, Callable[[Any], Any]] = {"time": _time_out, "bool": bool, "bytes": _bytes_out}


def read_rows(source: Path) -> Iterator[list[Any]]:
    """The header's columns, then the rows. Raises UserError for a file that is no such table."""
    try:
        with gzip.open(source, "rt", encoding="utf-8") as file:
            header = json.loads(next(file))
            yield [(name, kind) for name, kind in header["columns"]]
            for line in file:
                yield json.loads(line)
    except (ValueError, KeyError, StopIteration, EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{source}: is no table of a backup ({error})") from error


def load_table(connection: Connection, table: str, source: Path) -> int:
    """Insert every row. Returns their number. Raises UserError where the table is another, or a row does not fit it.

    Foreign keys are the caller's: not checked meanwhile, or tables loaded in their order.
    """
    rows = read_rows(source)
    columns: Columns = next(rows)
    there = columns_of(connection, table)
    if sorted(columns) != sorted(there):
        raise UserError(
            f"the table {table} of the backup has the columns {_words(columns)}; this version's has {_words(there)}"
        )
    quote = connection.dialect.identifier_preparer.quote
    server = connection.dialect.name == "postgresql"
    if server:
        marks = ", ".join("%s::json" if kind == "json" else "%s" for _, kind in columns)
    else:
        marks = ", ".join("?" for _ in columns)
    names = ", ".join(quote(name) for name, _ in columns)
    insert = f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})"
    convert = [_IN_SERVER.get(kind) if server else _IN_SQLITE.get(kind) for _, kind in columns]
    count = 0
    batch: list[tuple[Any, ...]] = []

    def send() -> None:
        try:
            connection.exec_driver_sql(insert, batch)
        except DBAPIError as error:
            raise UserError(
                f"rows {count - len(batch) + 1} to {count} of the table {table} do not fit into this database: "
                f"{' '.join(str(error.orig).split())[:300]}"
            ) from error

    for row in rows:
        batch.append(
            tuple(
                value if one is None or value is None else one(value) for one, value in zip(convert, row, strict=True)
            )
        )
        count += 1
        if len(batch) == _ROWS:
            send()
            batch = []
    if batch:
        send()
    return count


def _words(columns: Columns) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(columns))


def _time_in_sqlite(value: str) -> str:
    """As SQLAlchemy stores it: times are compared as texts."""
    return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


_IN_SQLITE: dict[str, Callable[[Any], Any]] = {"time": _time_in_sqlite, "bool": int, "bytes": base64.b64decode}
_IN_SERVER: dict[str, Callable[[Any], Any]] = {"time": datetime.fromisoformat, "bytes": base64.b64decode}
