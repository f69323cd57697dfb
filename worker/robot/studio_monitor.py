"""Looks whether the studio is whole, its broker for one. When it is not, nothing may move that somebody would watch."""

import threading
import time
from collections.abc import Callable

from worker.robot.arbiter import Arbiter

AWAY_SECONDS = 1.0
_EVERY_SECONDS = 0.2


class StudioMonitor:
    """A thread of its own; the control loop only sees what the arbiter forbids.

    trouble: as of `worker.robot.store.Store`; it takes half a second at the most.
    """

    def __init__(self, trouble: Callable[[], str | None], *, arbiter: Arbiter) -> None:
        self._trouble = trouble
        self._arbiter = arbiter
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="studio-monitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Waits for nothing."""
        self._ended.set()

    def _run(self) -> None:
        answered = time.monotonic()
        forbidden: set[str] = set()
        while not self._ended.is_set():
            trouble = self._trouble()
            if trouble is None:
                answered = time.monotonic()
                for reason in forbidden:
                    self._arbiter.allow(reason)
                forbidden.clear()
            elif time.monotonic() - answered > AWAY_SECONDS - _EVERY_SECONDS:
                forbidden.add(trouble)
                self._arbiter.forbid(trouble)
            self._ended.wait(_EVERY_SECONDS)
