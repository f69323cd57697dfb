"""Tells the studio every two seconds that the robot is there. A database that is away is no reason to stop holding."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from backend.robots import presence, service
from backend.studio.context import Studio
from dexvla.live.status import HostStatus

log = logging.getLogger("studio.robot")

_EVERY_SECONDS = 2.0
_BREATH_SECONDS = 0.05  # after a change: whoever made it writes it down first, and what follows at once is told with it


class Announcer:
    """A thread of its own with a session of its own; waits for locks there, never in the control loop."""

    def __init__(self, studio: Studio, *, name: str, kind: str, address: str, status: Callable[[], HostStatus]) -> None:
        self._studio, self._name, self._kind, self._address, self._status = studio, name, kind, address, status
        self._wake = threading.Event()
        self._ended = False
        self._away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._signs = threading.Thread(target=self._sign, name="signs", daemon=True)
        self._over = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._signs.start()

    def hurry(self) -> None:
        """Something changed: announce it soon."""
        self._wake.set()

    def end(self) -> None:
        """Begin to end: the robot is taken off the list. Waits for nothing."""
        self._ended = True
        self._over.set()
        self._wake.set()

    def close(self, seconds: float) -> None:
        """End; if the database is not there within `seconds` the row grows old by itself."""
        self.end()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            self._announce()
            if self._wake.wait(_EVERY_SECONDS):
                self._over.wait(_BREATH_SECONDS)
        try:
            with self._studio.db.transaction() as db:
                service.withdraw(db, self._studio, name=self._name, address=self._address)
        except SQLAlchemyError as error:
            log.warning("the robot could not be taken off the list: %s", error)

    def _sign(self) -> None:
        """In the broker, too: the row may wait for the database's lock for longer than a robot counts as there."""
        while not self._over.is_set():
            presence.sign(self._studio, self._name, self._status())
            self._over.wait(_EVERY_SECONDS)
        presence.withdraw(self._studio, self._name)

    def _announce(self) -> None:
        status = self._status()
        try:
            with self._studio.db.transaction() as db:
                service.announce(
                    db, self._studio, name=self._name, kind=self._kind, address=self._address, status=status
                )
        except SQLAlchemyError as error:
            if self._away_since is None:
                log.warning("the database is away, the robot holds on: %s", error)
                self._away_since = time.monotonic()
            return
        if self._away_since is not None:
            log.warning("the database is back after %.0f s", time.monotonic() - self._away_since)
            self._away_since = None
