"""Lists a page at a time: cursors that stay right while rows come and go, and queries that end in time.

A cursor says behind which row a page begins: its values in the list's order, not how many rows lie before it. So the
last page costs what the first does, and nothing is shown twice because something was added on top.
"""

import base64
import binascii
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, column, false, func, or_, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import JSON, Integer, Numeric, Text

from backend.core.db import UtcDateTime
from backend.core.errors import InvalidError, TooMuchError
from dexvla.spec.inputs import In

if TYPE_CHECKING:
    from fastapi import Response

SECONDS = 2.0  # of work for a query of a list
_LOOK = 20_000  # SQLite's instructions between two looks at the clock, about a millisecond
MAX_CURSOR = 2000
MOST_AT_ONCE = 1000  # rows of a list that is not asked for by pages

T = TypeVar("T")


Ids = Annotated[list[str], Field(max_length=500, description="Those of these ids that are in the list; none: all")]


class PageIn(In):
    """What every list can be asked; a filter that there is none of is refused."""

    cursor: str | None = Field(
        None, max_length=MAX_CURSOR, description="`next` of the page before; left out for the first page"
    )
    limit: int = Field(100, ge=1, le=500, description="Rows of a page")
    descending: bool = Field(False, description="The order the other way round")
    search: str | None = Field(None, max_length=200, description="Words that all have to be in it, in any case")


class CursorPage(BaseModel, Generic[T]):
    """A part of a list. next: cursor of the page behind it, None for the last. total: of all pages; with the first page
    alone."""

    items: list[T]
    next: str | None
    total: int | None = Field(None, ge=0)


def tell_rest(response: "Response", shown: int, pages: str) -> None:
    """Say where all of a list is (RFC 8288) that may have been cut at `MOST_AT_ONCE`. pages: path of its pages."""
    if shown >= MOST_AT_ONCE:
        response.headers["Link"] = f'<{pages}>; rel="alternate"; title="all, by pages"'


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a list is sorted by. id: tells rows with the same values apart. nullable: rows without a value come last.
    ahead: a number by which rows come first, 0 before 1, in either direction. then: sorts rows with the same value."""

    name: str
    column: SQLColumnExpression[Any]
    id: SQLColumnExpression[Any]
    descending: bool = False
    nullable: bool = False
    ahead: SQLColumnExpression[Any] | None = None
    then: SQLColumnExpression[Any] | None = None

    @property
    def keys(self) -> list[tuple[SQLColumnExpression[Any], bool]]:
        """(what is sorted by, whether downwards), the first decides."""
        missing = case((self.column.is_(None), 1), else_=0) if self.nullable else None
        fixed = [(key, False) for key in (self.ahead, missing) if key is not None]
        turned = [(key, self.descending) for key in (self.column, self.then, self.id) if key is not None]
        return [*fixed, *turned]

    def sorted(self, query: Select[Any]) -> Select[Any]:
        return query.order_by(*(key.desc() if down else key for key, down in self.keys))

    def behind(self, values: Sequence[Any]) -> ColumnElement[bool]:
        """Rows that come after the one with these values of the keys."""
        later: ColumnElement[bool] = false()
        for (key, down), value in reversed(list(zip(self.keys, values, strict=True))):
            if value is None:  # all of these lack one
                later = and_(key.is_(None), later)
            else:
                later = or_(key < value if down else key > value, and_(key == value, later))
        return later


def page(
    db: Session, query: Select[Any], order: Order, *, cursor: str | None, limit: int, narrow: str
) -> tuple[Sequence[Any], str | None, int | None]:
    """(rows, next cursor, total) of a query. The rows have more columns than the query: the order's keys.

    narrow: what makes the list shorter, for whoever asks for too much. Raises InvalidError for a cursor that is not one
    of this list in this order.
    """
    with limited(db, narrow):
        total = None
        if cursor is None:
            total = db.scalar(select(func.count()).select_from(_ids(query, order).subquery())) or 0
        else:
            query = query.where(order.behind(_read(cursor, order)))
        keys = [key for key, _ in order.keys]
        rows = db.execute(order.sorted(query.add_columns(*keys)).limit(limit + 1)).all()
    more = len(rows) > limit
    return rows[:limit], _written(order, rows[limit - 1][-len(keys) :]) if more else None, total


def _ids(query: Select[Any], order: Order) -> Select[Any]:
    return query.with_only_columns(order.id, maintain_column_froms=True).order_by(None)


def _written(order: Order, values: Sequence[Any]) -> str:
    said = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    plain = json.dumps([order.name, order.descending, said], separators=(",", ":"))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _read(cursor: str, order: Order) -> list[Any]:
    try:
        plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        name, descending, values = json.loads(plain)
    except (ValueError, binascii.Error, TypeError):
        raise InvalidError(
            "This is not a cursor of this list; take `next` of a page as it is, or leave it out to begin anew.",
            fields={"cursor": "not one of this list's"},
        ) from None
    if (name, descending) != (order.name, order.descending):
        raise InvalidError(
            "This cursor belongs to another list or another order; leave it out to begin anew.",
            fields={"cursor": "of another order"},
        )
    try:
        return [
            _value(key, value, nullable=order.nullable and key is order.column)
            for (key, _), value in zip(order.keys, values, strict=True)
        ]
    except (ValueError, TypeError):
        raise InvalidError(
            "This cursor holds a value that this list cannot be sorted by; leave it out to begin anew.",
            fields={"cursor": "unusable value"},
        ) from None


def _value(key: SQLColumnExpression[Any], value: Any, *, nullable: bool) -> Any:
    """Of the key's type. Raises ValueError, TypeError."""
    kind = select(key).selected_columns[0].type
    if value is None:
        if not nullable:
            raise ValueError("no value")
        return None
    if isinstance(kind, UtcDateTime):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment
    if isinstance(kind, Integer | Numeric):
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**62:
            raise TypeError(value)
        return value
    return str(value)


# --- searching ------------------------------------------------------------------------------------------------


def contains(text_of: SQLColumnExpression[Any], words: str) -> ColumnElement[bool]:
    """Every one of the words is in the text, in any case; SQLite knows the case of ASCII letters alone."""
    return and_(*(has(text_of, word) for word in words.split()))


def has(text_of: SQLColumnExpression[Any], word: str) -> ColumnElement[bool]:
    lower = func.lower(text_of, type_=Text).contains(word.lower(), autoescape=True)
    return or_(lower, text_of.contains(word, autoescape=True))


def elements(db: Session, array: SQLColumnExpression[Any], *, objects: bool = False) -> TableValuedAlias:
    """The elements of a JSON array as a table with the column `value`: texts, or JSON."""
    value = column("value", JSON if objects else Text)
    if db.get_bind().dialect.name == "sqlite":
        return func.json_each(array).table_valued(value)
    taken = func.json_array_elements(array) if objects else func.json_array_elements_text(array)
    return taken.table_valued(value)


# --- in time --------------------------------------------------------------------------------------------------


@contextmanager
def limited(db: Session, narrow: str, *, seconds: float = SECONDS) -> Iterator[None]:
    """Raise TooMuchError, with what to narrow, where queries take longer: of the processor's time on SQLite, which
    works in this thread; by the clock on PostgreSQL, in whose transaction nothing else can be asked after that."""
    try:
        if db.get_bind().dialect.name == "sqlite":
            with _sqlite_limit(db, seconds):
                yield
        else:
            db.execute(text(f"SET LOCAL statement_timeout = {int(1000 * seconds)}"))
            yield
            db.execute(text("SET LOCAL statement_timeout = DEFAULT"))
    except OperationalError as error:
        told = str(error.orig).lower()
        if "interrupted" not in told and "statement timeout" not in told:
            raise
        raise TooMuchError(f"Looking for this takes longer than {seconds:g} s and was stopped. {narrow}") from None


@contextmanager
def _sqlite_limit(db: Session, seconds: float) -> Iterator[None]:
    plain = db.connection().connection.driver_connection
    assert isinstance(plain, sqlite3.Connection)
    end = time.thread_time() + seconds
    plain.set_progress_handler(lambda: time.thread_time() > end, _LOOK)
    try:
        yield
    finally:
        plain.set_progress_handler(None, 0)
