"""How much a person's pages may say to robot hosts: each message is read by loops that robots depend on."""

import time
from collections.abc import Callable
from weakref import WeakValueDictionary

# Steering says fifty things a second, and each of up to fifty frames a second of four cameras is acknowledged: for a
# dozen pages. A flood says a hundred thousand.
PER_SECOND = 3000.0
AT_ONCE = 6000.0  # what a page says while nobody reads comes all at once
_BYTES = 512  # a message weighs one, and one more for each of these


class Pace:
    """A bucket that fills by time. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._looked = AT_ONCE, clock()

    def allows(self, size: int) -> bool:
        """Whether another message of `size` bytes may go on; it is counted."""
        now = self._clock()
        self._left = min(AT_ONCE, self._left + (now - self._looked) * PER_SECOND) - 1 - size // _BYTES
        self._looked = now
        if self._left >= 0:
            return True
        self._left = 0.0
        return False


_OF_PEOPLE: "WeakValueDictionary[str, Pace]" = WeakValueDictionary()


def pace_of(person: str) -> Pace:
    """One for all sockets of a person in this process, as long as one of them is open."""
    pace = _OF_PEOPLE.get(person)
    if pace is None:
        pace = _OF_PEOPLE[person] = Pace()
    return pace
