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
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, func, or_, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.types import Integer, Numeric, Text

from backend.core.db import UtcDateTime
from backend.core.errors import InvalidError, TooMuchError
from dexvla.spec.inputs import In

SECONDS = 2.0  # of work for a query of a list
_LOOK = 20_000  # SQLite's instructions between two looks at the clock, about a millisecond
MAX_CURSOR = 2000

T = TypeVar("T")


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


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a list is sorted by. id: tells rows with the same value apart. nullable: rows without a value come last."""

    name: str
    column: SQLColumnExpression[Any]
    id: SQLColumnExpression[Any]
    descending: bool = False
    nullable: bool = False

    @property
    def _missing(self) -> ColumnElement[int]:
        return case((self.column.is_(None), 1), else_=0)

    def sorted(self, query: Select[Any]) -> Select[Any]:
        keys = [self._missing] if self.nullable else []
        both = (self.column.desc(), self.id.desc()) if self.descending else (self.column, self.id)
        return query.order_by(*keys, *both)

    def behind(self, value: Any, id: str) -> ColumnElement[bool]:
        """Rows that come after this one."""
        later = self.id < id if self.descending else self.id > id
        if value is None:
            return and_(self.column.is_(None), later)
        beyond = self.column < value if self.descending else self.column > value
        behind = or_(beyond, and_(self.column == value, later))
        return or_(behind, self.column.is_(None)) if self.nullable else behind


def page(
    db: Session, query: Select[Any], order: Order, *, cursor: str | None, limit: int, narrow: str
) -> tuple[Sequence[Any], str | None, int | None]:
    """(rows, next cursor, total) of a query. The rows have two columns more than the query: the order's value and id.

    narrow: what makes the list shorter, for whoever asks for too much. Raises InvalidError for a cursor that is not one
    of this list in this order.
    """
    with limited(db, narrow):
        total = None
        if cursor is None:
            total = db.scalar(select(func.count()).select_from(_ids(query, order).subquery())) or 0
        else:
            query = query.where(order.behind(*_read(cursor, order)))
        found = order.sorted(query.add_columns(order.column, order.id)).limit(limit + 1)
        rows = db.execute(found).all()
    more = len(rows) > limit
    return rows[:limit], _written(order, rows[limit - 1]) if more else None, total


def _ids(query: Select[Any], order: Order) -> Select[Any]:
    return query.with_only_columns(order.id, maintain_column_froms=True).order_by(None)


def _written(order: Order, row: Any) -> str:
    value = row[-2]
    said = value.isoformat() if isinstance(value, datetime) else value
    plain = json.dumps([order.name, order.descending, said, row[-1]], separators=(",", ":"))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _read(cursor: str, order: Order) -> tuple[Any, str]:
    try:
        plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        name, descending, value, id = json.loads(plain)
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
        return _value(order, value), str(id)
    except (ValueError, TypeError):
        raise InvalidError(
            "This cursor holds a value that this list cannot be sorted by; leave it out to begin anew.",
            fields={"cursor": "unusable value"},
        ) from None


def _value(order: Order, value: Any) -> Any:
    """Of the column's type. Raises ValueError, TypeError."""
    kind = select(order.column).selected_columns[0].type
    if value is None:
        if not order.nullable:
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


def contains(column: SQLColumnExpression[Any], words: str) -> ColumnElement[bool]:
    """Every one of the words is in the column, in any case; SQLite knows the case of ASCII letters alone."""
    return and_(
        *(
            or_(
                func.lower(column, type_=Text).contains(word.lower(), autoescape=True),
                column.contains(word, autoescape=True),
            )
            for word in words.split()
        )
    )


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
