"""The database: one engine a process, one transaction a request, times in UTC.

Repositories query, services decide, and neither commits: `transaction` (or the request) does, once, at the end.
"""

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, Engine, MetaData, String, create_engine, event, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double, TypeDecorator


def database_now(db: Session) -> datetime:
    """The database's clock: hosts and APIs on several machines agree on it."""
    return datetime.fromtimestamp(db.scalar(select(db_seconds())) or 0.0, UTC)


_BUSY_SECONDS = 15
LOG_BYTES = 8 * 2**20  # what SQLite leaves of its write-ahead log after a checkpoint, see backend.core.space
_LARGE_LOG_BYTES = 4 * LOG_BYTES  # from here on writers wait until the log can begin anew
_RESTART_SECONDS = 2


def new_id() -> str:
    """32 hexadecimal digits; says nothing about when or in what order things were made."""
    return uuid.uuid4().hex


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None, "naive datetime"
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_E = TypeVar("_E", bound=StrEnum)


class EnumText(TypeDecorator[_E]):
    """A StrEnum, stored as text; rows hold the enum's member, not its text."""

    impl = String
    cache_ok = True

    def __init__(self, enum: type[_E], length: int = 16) -> None:
        super().__init__(length)
        self._enum = enum

    def process_bind_param(self, value: _E | str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> _E | None:
        return None if value is None else self._enum(value)


# For a row that others refer to, to be changed but neither deleted nor called otherwise (PostgreSQL's FOR NO KEY
# UPDATE): two of these wait for each other. FOR UPDATE would wait for rows that refer to it, too, as whoever saves new
# labels of an episode writes them, and these for the episode.
NO_KEY = {"key_share": True}


class db_seconds(FunctionElement[float]):
    """The database's clock, seconds since 1970: what leases are measured by, whatever the workers' clocks say."""

    type = Double()
    inherit_cache = True


@compiles(db_seconds, "sqlite")
def _sqlite_seconds(element: Any, compiler: Any, **kwargs: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_seconds, "postgresql")
def _postgresql_seconds(element: Any, compiler: Any, **kwargs: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


class Base(DeclarativeBase):
    """Tables. `id` is made by the server."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class Identified:
    """Mixin: a row with an id of its own and the time it was made."""

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Database:
    """Engine and sessions. `write=True` takes SQLite's write lock at the start: no transaction fails half-way.
    `write=False` reads one moment of the database, however many queries it asks, on PostgreSQL too.

    on_full is called when the database finds no room to write; the error goes on to whoever wrote. SQLite lets who
    waits for its lock look again after longer and longer pauses, so that under load some wait for seconds while others
    pass: the threads of one process take turns before they ask it.
    """

    def __init__(self, url: str, *, on_full: Callable[[], object] | None = None) -> None:
        self.url, self._on_full = url, on_full
        self.sqlite = sqlite = url.startswith("sqlite")
        options: dict[str, Any] = (
            {
                "connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False},
                "pool_size": 20,
                "max_overflow": 40,
            }
            if sqlite
            else {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20}
        )
        self.engine: Engine = create_engine(url, **options)
        self._reading: Engine = (
            self.engine if sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writing = threading.Lock() if sqlite else None
        if sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
            event.listen(self.engine, "begin", _sqlite_begin)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Session]:
        """A session that commits at the end and rolls back on any error.

        Nothing is waited for before the first statement: what must not wait for the database (a stop) comes first.
        """
        turn = _Turn(self._writing) if write and self._writing else None
        engine = self.engine if write else self._reading
        engine = engine.execution_options(studio_turn=turn) if turn else engine
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                event.listen(session, "after_rollback", _forget_after_commit)
                yield session
        except DatabaseError as error:
            if self._on_full and is_full(error):
                self._on_full()
            raise
        finally:
            if turn:
                turn.give()
        _run_after_commit(session)

    def checkpoint(self) -> int:
        """Bring SQLite's write-ahead log into the database's file; returns the bytes of the log that are in use.

        Readers keep what they read from the log, so that with some there at every moment it would grow for ever: a
        large one is begun anew between two of them, for which new writers wait, two seconds at most. 0 for PostgreSQL.
        Raises SQLAlchemyError, for a full disk say, on which the database's file cannot grow.
        """
        if not self.sqlite:
            return 0
        size = self._checkpoint("PASSIVE", seconds=_BUSY_SECONDS)
        if size > _LARGE_LOG_BYTES:
            size = self._checkpoint("RESTART", seconds=_RESTART_SECONDS)
        return size

    def _checkpoint(self, how: str, *, seconds: int) -> int:
        statement = f"PRAGMA wal_checkpoint({how})"
        connection = self.engine.raw_connection()
        cursor = connection.cursor()
        try:
            page: int = cursor.execute("PRAGMA page_size").fetchone()[0]
            cursor.execute(f"PRAGMA busy_timeout={1000 * seconds}")
            busy, frames, _ = cursor.execute(statement).fetchone()
        except sqlite3.Error as error:  # past SQLAlchemy, which would begin a transaction, in which it is refused
            raise DatabaseError(statement, None, error) from error
        finally:
            cursor.execute(f"PRAGMA busy_timeout={1000 * _BUSY_SECONDS}")
            connection.close()
        begun_anew = how == "RESTART" and not busy
        return 0 if begun_anew or frames < 0 else frames * page

    def close(self) -> None:
        self.engine.dispose()


def is_full(error: DatabaseError) -> bool:
    """Whether the database, SQLite or PostgreSQL, found no room to write."""
    told = " ".join(str(error.orig).split()).lower()
    return "disk is full" in told or "no space left" in told or "disk quota exceeded" in told


def after_commit(db: Session, action: Callable[[], object]) -> None:
    """Call `action` when, and only when, the transaction is committed and its lock is given back.

    What it raises reaches whoever asked, after all other actions: it has to say that the change itself was made.
    """
    db.info.setdefault("after_commit", []).append(action)


def _forget_after_commit(session: Session) -> None:
    session.info.pop("after_commit", None)


def _run_after_commit(session: Session) -> None:
    failed: Exception | None = None
    for action in session.info.pop("after_commit", ()):
        try:
            action()
        except Exception as error:  # the others are due all the same
            failed = failed or error
    if failed is not None:
        raise failed


def _sqlite_connect(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, below
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"journal_size_limit={LOG_BYTES}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    turn: _Turn | None = connection.get_execution_options().get("studio_turn")
    if turn:
        turn.take()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if turn else "BEGIN")


class _Turn:
    """One transaction's turn among the writers of this process. May end in another thread than it began in."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._mine = False

    def take(self) -> None:
        """After _BUSY_SECONDS it goes on without: SQLite then says who waits for what."""
        if not self._mine:
            self._mine = self._lock.acquire(timeout=_BUSY_SECONDS)

    def give(self) -> None:
        if self._mine:
            self._mine = False
            self._lock.release()
