"""Work that is done again and again beside a process's other work, in a thread of its own."""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

_log = structlog.get_logger(__name__)


class Periodic:
    """Calls `work` from `start` on until `stop`, and waits for as many seconds in between as it returns.

    A disk or a database that is away is logged as `NAME.failed`, once as long as it says the same, and the next round
    comes after `every_seconds`.
    """

    def __init__(self, name: str, work: Callable[[], float], *, every_seconds: float) -> None:
        self._name, self._work, self._every = name, work, every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a round that is under way, a few seconds at most."""
        self._stopped.set()
        self._thread.join(5)

    def _run(self) -> None:
        told: str | None = None
        while not self._stopped.is_set():
            seconds = self._every
            try:
                seconds, told = self._work(), None
            except (OSError, SQLAlchemyError) as error:
                why = " ".join(str(error).split())[:200]
                if why != told:
                    _log.warning(f"{self._name}.failed", error=why)
                told = why
            self._stopped.wait(seconds)
