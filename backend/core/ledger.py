"""What is written into the database after the deed: in order, in a thread of its own, again until it is written.

For acts that wait for nothing (a stop) or are done already when they are to be written down (whatever a robot's host
did). Entries live in this process's memory: what is not written when the process is killed is lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from backend.core.db import Database

log = logging.getLogger("studio.ledger")

Write = Callable[[Session], None]

_MOST = 1000  # entries that wait
_MOST_AFTERWARDS = 100  # of what is done afterwards; older ones are dropped
_SLOW_SECONDS = 0.05
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 15.0
_CLOSE_SECONDS = 1.5
_MOST_WORDS = 200  # characters of an error that are told


@dataclass(frozen=True, kw_only=True)
class Unwritten:
    """Why an entry is not in the database, for people. lost: it will never be; else it is tried again."""

    why: str
    lost: bool = False


Written = Future[Unwritten | None]  # None once it is in the database


@dataclass
class _Entry:
    write: Write
    then: Callable[[], None] | None
    key: str | None
    since: float = field(default_factory=time.monotonic)
    written: Written = field(default_factory=Future)

    def tell(self, missing: Unwritten | None) -> None:
        if not self.written.done():
            self.written.set_result(missing)


class Ledger:
    """The threads start with the first entry. Every method may be called from any thread; none waits but `close`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._entries: deque[_Entry] = deque()
        self._condition = threading.Condition()
        self._afterwards: deque[Callable[[], None]] = deque(maxlen=_MOST_AFTERWARDS)
        self._any_afterwards = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing: Unwritten | None = None
        self._ended = False

    @property
    def waiting(self) -> int:
        return len(self._entries)

    @property
    def slow(self) -> bool:
        """Whether an entry has waited for so long that to wait for one behind it, for a moment, is in vain."""
        with suppress(IndexError):
            return time.monotonic() - self._entries[0].since > _SLOW_SECONDS
        return False

    def write(self, write: Write, *, key: str | None = None, then: Callable[[], None] | None = None) -> Written:
        """Write it soon. The future has None once it is written, or why the first try failed; then it is tried again,
        unless it is this entry that the database will not have. While earlier entries fail this one waits behind them,
        and its future says so at once.

        key: an entry of the same key that waits already makes this one pointless. then: done after it is written, in
        another thread, where it holds up no entry; not certain where much of it waits.
        """
        entry = _Entry(write, then, key)
        with self._condition:
            if key is not None and (same := next((one for one in self._entries if one.key == key), None)):
                return same.written
            if self._ended:
                entry.tell(Unwritten(why="the studio is being stopped", lost=True))
                return entry.written
            if len(self._entries) >= _MOST:
                entry.tell(Unwritten(why=f"{_MOST} others wait for the database already", lost=True))
                return entry.written
            self._entries.append(entry)
            if self._failing is not None:
                entry.tell(self._failing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
                threading.Thread(target=self._do_afterwards, name="ledger-then", daemon=True).start()
            self._condition.notify()
        return entry.written

    def close(self) -> None:
        """Write what waits, as far as that is possible within a moment."""
        with self._condition:
            self._ended = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
        if self._entries:
            log.error("%d entries could not be written to the database before the end", len(self._entries))

    def _run(self) -> None:
        pause = _RETRY_SECONDS
        while True:
            with self._condition:
                while not self._entries and not self._ended:
                    self._condition.wait()
                if not self._entries:
                    return
                entry = self._entries[0]
            missing = self._try(entry)
            if missing is None:
                pause = _RETRY_SECONDS
                continue
            with self._condition:
                for waiting in self._entries:
                    waiting.tell(missing)
                if self._ended:
                    return
                self._condition.wait_for(lambda: self._ended, pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    def _try(self, entry: _Entry) -> Unwritten | None:
        """Why it is to be tried again, None if it is done with."""
        missing: Unwritten | None = None
        try:
            with self._db.transaction() as db:
                entry.write(db)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not _refuses_the_entry(error):
                if self._failing is None:
                    log.warning("what was done cannot be written down yet: %s", error)
                self._failing = Unwritten(why=in_words(error))
                return self._failing
            log.exception("an entry cannot be written and is left out")  # those behind it must not wait for it
            missing = Unwritten(why=" ".join(str(error).split())[:_MOST_WORDS], lost=True)
        self._failing = None
        with self._condition:
            self._entries.popleft()
        entry.tell(missing)
        if missing is None and entry.then is not None:
            self._afterwards.append(entry.then)
            self._any_afterwards.set()
        return None

    def _do_afterwards(self) -> None:
        while True:
            self._any_afterwards.wait()
            self._any_afterwards.clear()
            while self._afterwards:
                try:
                    self._afterwards.popleft()()
                except Exception:
                    log.exception("what follows an entry failed")  # and ends nobody who writes


def _refuses_the_entry(error: SQLAlchemyError) -> bool:
    """Whether it is this entry that the database will not have, now or later: a value, a reference, what is no JSON."""
    return isinstance(error, DataError | IntegrityError) or (
        isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    )


def not_yet(written: Written, *, seconds: float) -> list[str]:
    """What to say of an entry of the audit log that is not written within `seconds`; nothing of one that is."""
    try:
        missing = written.result(seconds)
    except TimeoutError:
        missing = Unwritten(why="the database has not answered yet")
    if missing is None:
        return []
    if missing.lost:
        return [f"It could not be written into the audit log ({missing.why})."]
    return [f"It is not in the audit log yet ({missing.why}); it is written as soon as that is possible."]


def in_words(error: SQLAlchemyError) -> str:
    """Why the database does not take something, for people."""
    said = " ".join(str(getattr(error, "orig", None) or error).split()).lower()
    if "disk is full" in said or "no space left" in said or "quota" in said:
        return "the disk is full"
    if "database is locked" in said:
        return "somebody else writes to the database for long"
    return "the database cannot be reached"
