"""When what died is started again: the rule of `studio up` and of the application's keeper."""

import time
from dataclasses import dataclass

STEADY_SECONDS = 20.0  # one that lived this long starts again after the shortest pause


@dataclass
class Restarts:
    """Pauses before the next start: `first` seconds, twice as long after each that did not last, up to `longest`."""

    first: float
    longest: float
    failures: int = 0
    started: float = 0.0

    def begin(self) -> None:
        """It is started now."""
        self.started = time.monotonic()

    def pause(self) -> float:
        """Seconds until the next start, for one that has ended now."""
        lived = time.monotonic() - self.started
        self.failures = 0 if lived > STEADY_SECONDS else self.failures + 1
        return min(self.longest, self.first * 2.0 ** min(self.failures, 20))
