"""When cameras that fail are started again."""

_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 60.0
_WELL_SECONDS = 60.0  # cameras that went on for so long are mended


class CameraMending:
    """The first failure is tried again at once; after each that follows the pause doubles, up to a minute: a new start
    costs processor time that the control loop needs, and seldom is what helps. Moments are of one monotonic clock."""

    def __init__(self) -> None:
        self._starts = 0  # in a row, each of which failed
        self._last = float("-inf")

    def is_due(self, fault: str | None, now: float) -> bool:
        """Whether to start the cameras again now. To be asked at every step; True counts as a start."""
        if fault is None:
            if now - self._last > _WELL_SECONDS:
                self._starts = 0
            return False
        if now - self._last < self._pause:
            return False
        self._starts, self._last = self._starts + 1, now
        return True

    def described(self, fault: str | None) -> str | None:
        """`fault` for people: with what they can do, once a new start has not helped."""
        if fault is None or self._starts < 2:
            return fault
        return (
            f"{fault}. They were started again {self._starts} times, and fail each time; that goes on, at most once a "
            "minute. Look at their cables or, of a simulated robot, at what else keeps this machine busy; the robot "
            "host's log says more. Then start the robot host again"
        )

    @property
    def _pause(self) -> float:
        return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** (self._starts - 1)) if self._starts else 0.0
