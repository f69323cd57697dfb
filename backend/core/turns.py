"""Who may look at a file now: inspections are slow, so a few run at once, some wait, the others come back later."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backend.core.errors import InvalidError, TooManyError

_LOOK_SECONDS = 0.2  # between two looks at whether the client is still there
GONE = "The upload broke off; nothing was kept. Try again."


class Turns:
    """`at_once` inspections run, at most `waiting` more wait. Of one process; used from its threads."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._most = at_once + waiting
        self._begun = 0
        self._lock = threading.Lock()
        self._running = threading.Semaphore(at_once)

    def check(self) -> None:
        """Raise TooManyError where a turn would not even be waited for."""
        if self._begun >= self._most:
            raise TooManyError(
                f"{self._most} other files are being looked at or wait for it; try again in a minute. Nothing was kept."
            )

    @contextmanager
    def turn(self, stop: threading.Event) -> Iterator[None]:
        """Wait for a turn and keep it. Raises TooManyError, or InvalidError once `stop` is set: the client is gone."""
        with self._lock:
            self.check()
            self._begun += 1
        try:
            while not self._running.acquire(timeout=_LOOK_SECONDS):
                if stop.is_set():
                    raise InvalidError(GONE)
            try:
                yield
            finally:
                self._running.release()
        finally:
            with self._lock:
                self._begun -= 1
