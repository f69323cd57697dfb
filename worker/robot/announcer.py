"""Tells the studio every two seconds that the robot is there. A studio that is away is no reason to stop holding."""

import logging
import threading
import time
from collections.abc import Callable

from dexvla.live.status import HostStatus
from worker.robot.store import AwayError, Store

log = logging.getLogger("studio.robot")

_EVERY_SECONDS = 2.0
_BREATH_SECONDS = 0.05  # after a change: whoever made it writes it down first, and what follows at once is told with it


class Announcer:
    """Threads of its own; waits for the studio there, never in the control loop. on_token: told with which token the
    studio asks this host."""

    def __init__(
        self,
        store: Store,
        *,
        kind: str,
        address: str,
        status: Callable[[], HostStatus],
        on_token: Callable[[str], None],
    ) -> None:
        self._store, self._kind, self._address, self._status = store, kind, address, status
        self._on_token = on_token
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
        """End; if the studio does not answer within `seconds` it notices by itself."""
        self.end()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            self._announce()
            if self._wake.wait(_EVERY_SECONDS):
                self._over.wait(_BREATH_SECONDS)
        try:
            self._store.withdraw(address=self._address)
        except AwayError as error:
            log.warning("the robot could not be taken off the list: %s", error.__cause__ or error)

    def _sign(self) -> None:
        """Beside, too: an announcement may wait for a database's lock for longer than a robot counts as there."""
        while not self._over.is_set():
            self._store.sign(self._status())
            self._over.wait(_EVERY_SECONDS)
        self._store.unsign()

    def _announce(self) -> None:
        try:
            token = self._store.announce(kind=self._kind, address=self._address, status=self._status())
        except AwayError as error:
            if self._away_since is None:
                log.warning("the studio cannot be told of the robot, which holds on: %s", error.__cause__ or error)
                self._away_since = time.monotonic()
            return
        self._on_token(token)
        if self._away_since is not None:
            log.warning("the studio takes announcements again, after %.0f s", time.monotonic() - self._away_since)
            self._away_since = None
