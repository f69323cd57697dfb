"""What is written into the database after the deed: in order, in a thread of its own, again until it is written.

For deeds that wait for nothing (a stop) or are done already when they are to be written down (whatever a robot's host
did). Entries live in this process's memory: what is not written when the process is killed is lost.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.db import Database

log = logging.getLogger("studio.ledger")

Write = Callable[[Session], None]

_MOST = 1000  # entries that wait
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 15.0
_CLOSE_SECONDS = 1.5


@dataclass
class _Entry:
    """written: None once it is in the database, or why it is not yet."""

    write: Write
    then: Callable[[], None] | None
    key: str | None
    written: "Future[str | None]" = field(default_factory=Future)

    def tell(self, why: str | None) -> None:
        if not self.written.done():
            self.written.set_result(why)


class Ledger:
    """The thread starts with the first entry. Every method may be called from any thread; none waits but `close`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._entries: deque[_Entry] = deque()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failing: str | None = None
        self._ended = False

    @property
    def waiting(self) -> int:
        return len(self._entries)

    def write(
        self, write: Write, *, key: str | None = None, then: Callable[[], None] | None = None
    ) -> "Future[str | None]":
        """Write it soon. The future has None once it is written, or in words why the first try failed; then it is
        tried again. While earlier entries fail this one waits behind them, and its future says so at once.

        key: an entry of the same key that waits already makes this one pointless. then: done after it is written.
        """
        entry = _Entry(write, then, key)
        with self._condition:
            if key is not None and (same := next((one for one in self._entries if one.key == key), None)):
                return same.written
            if self._ended or len(self._entries) >= _MOST:
                entry.tell(f"more than {_MOST} entries wait to be written; this one is lost")
                return entry.written
            self._entries.append(entry)
            if self._failing is not None:
                entry.tell(self._failing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
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
            why = self._try(entry)
            if why is None:
                pause = _RETRY_SECONDS
                continue
            with self._condition:
                if self._ended:
                    return
                for waiting in self._entries:
                    waiting.tell(why)
                self._condition.wait_for(lambda: self._ended, pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    def _try(self, entry: _Entry) -> str | None:
        """Why it is to be tried again, None if it is done with."""
        try:
            with self._db.transaction() as db:
                entry.write(db)
        except SQLAlchemyError as error:
            why = in_words(error)
            if self._failing is None:
                log.warning("what was done cannot be written down yet: %s", error)
            self._failing = why
            return why
        except Exception as error:
            log.exception("an entry cannot be written")
            entry.tell(str(error))
        self._failing = None
        with self._condition:
            self._entries.popleft()
        entry.tell(None)
        if entry.then is not None:
            entry.then()
        return None


def not_yet(written: "Future[str | None]", *, seconds: float) -> list[str]:
    """What to say of an entry of the audit log that is not written within `seconds`; nothing of one that is."""
    try:
        why = written.result(seconds)
    except TimeoutError:
        why = "the database has not answered yet"
    return (
        [] if why is None else [f"It is not in the audit log yet ({why}); it is written as soon as that is possible."]
    )


def in_words(error: SQLAlchemyError) -> str:
    """Why the database does not take something, for people."""
    said = " ".join(str(getattr(error, "orig", None) or error).split()).lower()
    if "disk is full" in said or "no space left" in said or "quota" in said:
        return "the disk is full"
    if "database is locked" in said:
        return "somebody else writes to the database for long"
    return "the database cannot be reached"
