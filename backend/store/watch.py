"""Whether the store answers, asked beside everything else."""

import threading
import time

import structlog

from backend.store.base import Store, StoreAwayError

_FRESH_SECONDS = 15.0
_log = structlog.get_logger(__name__)


class StoreWatch:
    """What is wrong with the store, without waiting for one that hangs: it is asked in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: str | None = None
        self._asked_at = float("-inf")
        self._first = threading.Event()
        self._lock = threading.Lock()

    def report(self) -> str:
        """ "ok", or what is wrong in words; some seconds old."""
        if not self._store.remote:
            return "ok"
        with self._lock:
            due = time.monotonic() - self._asked_at > _FRESH_SECONDS
            if due:
                self._asked_at = time.monotonic()
                threading.Thread(target=self._ask, name="store", daemon=True).start()
        self._first.wait(2.0)
        if not self._first.is_set():
            return "it does not answer"
        return self._told or "ok"

    def _ask(self) -> None:
        try:
            found = self._store.problem()
        except (OSError, StoreAwayError) as error:
            found = str(error)
        if found != self._told:
            _log.warning("store.problem", why=found or "ok again")
        self._told = found
        self._first.set()
