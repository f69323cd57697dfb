"""Looks whether the studio's broker answers. When it is gone the studio is no longer whole, and nothing may move."""

import threading
import time

import redis

from worker.robot.cockpit import Cockpit

AWAY_SECONDS = 1.0
_EVERY_SECONDS = 0.2
_ANSWER_SECONDS = 0.5
REASON = "the studio's broker does not answer"


class BrokerWatch:
    """A thread of its own; the control loop only sees what the cockpit forbids."""

    def __init__(self, url: str, *, cockpit: Cockpit) -> None:
        self._broker = redis.Redis.from_url(
            url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS, health_check_interval=0
        )
        self._cockpit = cockpit
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Waits for nothing."""
        self._ended.set()

    def _run(self) -> None:
        answered = time.monotonic()
        while not self._ended.is_set():
            try:
                self._broker.ping()
            except (redis.RedisError, OSError):
                if time.monotonic() - answered > AWAY_SECONDS - _EVERY_SECONDS:
                    self._cockpit.forbid(REASON)
            else:
                answered = time.monotonic()
                self._cockpit.allow(REASON)
            self._ended.wait(_EVERY_SECONDS)
        self._broker.close()
