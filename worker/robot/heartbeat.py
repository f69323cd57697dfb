"""The controlling page's heartbeat: which of its messages count, by sequence, age and epoch. Pure logic, no socket.

A page's clock and ours start at different moments. The difference between sending and receiving is smallest for the
message that was fastest; what took longer than that by `STALE_SECONDS` is stale. The smallest of the last seconds is
taken, because clocks drift and a page that slept has another one.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from dexvla.live.messages import HOLD_MS, Drive, Pulse, Refusal
from worker.robot.latch import StopLatch

STALE_SECONDS = HOLD_MS / 1000
_CLOCK_SECONDS = 10.0
_GONE_SECONDS = 2.0  # a page that was not heard for so long has no claim on the robot any more

Code = Literal["malformed", "stale", "out_of_order", "epoch", "stopped", "busy", "held_by_other", "reclutch"]


class Holder:
    """One page on the control socket. by: the person's name; session: tells two pages of one person apart."""

    def __init__(self, *, by: str, session: str) -> None:
        self.by, self.session = by, session
        self._seq, self._sent = 0, float("-inf")
        self._clock: deque[tuple[float, float]] = deque()  # received, received - sent; seconds

    def check(self, message: Drive | Pulse, *, received: float) -> tuple[Code, str] | None:
        """Return the reason a message is ignored, with its code, or None. received: time.monotonic()."""
        sent = message.sent / 1000
        if message.seq <= self._seq or sent < self._sent:
            return "out_of_order", f"number {message.seq} after {self._seq}: numbers and times only grow"
        self._seq, self._sent = message.seq, sent
        while self._clock and self._clock[0][0] < received - _CLOCK_SECONDS:
            self._clock.popleft()
        # Ascending in both: what is later and faster makes the earlier ones pointless.
        while self._clock and self._clock[-1][1] >= received - sent:
            self._clock.pop()
        self._clock.append((received, received - sent))
        late = received - sent - self._clock[0][1]
        if late > STALE_SECONDS:
            return "stale", f"it was under way {late * 1000:.0f} ms longer than others; {HOLD_MS} ms is the most"
        return None


class Heartbeat:
    """The controlling page's signs of life; one page at a time holds the control socket.

    Threads may ask `silence`; the rest belongs to the event loop's thread.
    """

    def __init__(self, latch: StopLatch) -> None:
        self._latch = latch
        self._lock = threading.Lock()
        self._holder: Holder | None = None
        self._heard = float("-inf")
        self._entered = float("-inf")
        self.on_change: Callable[[], None] = lambda: None

    @property
    def holder(self) -> Holder | None:
        return self._holder

    def enter(self, holder: Holder) -> str | None:
        """Take the place; None, or the name of who has it. The same session takes over from its older connection, and
        anybody from a page that fell silent: one whose tab or machine was closed may leave its connection behind."""
        now = time.monotonic()
        with self._lock:
            before = self._holder
            if before is not None and before.session != holder.session:
                if now - max(self._heard, self._entered) <= _GONE_SECONDS:
                    return before.by
                self._heard = float("-inf")
            self._holder, self._entered = holder, now
        self.on_change()
        return None

    def leave(self, holder: Holder) -> bool:
        """Free the place; False if it was another one's already."""
        with self._lock:
            if self._holder is not holder:
                return False
            self._holder = None
            self._heard = self._entered = float("-inf")
        self.on_change()
        return True

    def accept(self, holder: Holder, message: Drive | Pulse, *, received: float) -> Refusal | None:
        """Count a message as a sign of life, or say why not."""

        def refused(code: Code, text: str) -> Refusal:
            return Refusal(seq=message.seq, code=code, message=text)

        if holder is not self._holder:
            return refused("held_by_other", "another page has taken over")
        wrong = holder.check(message, received=received)
        if wrong is not None:
            return refused(*wrong)
        latch = self._latch.now
        if message.epoch != latch.epoch:
            return refused("epoch", f"epoch {message.epoch}, now is {latch.epoch}: it was stopped or re-armed since")
        self._heard = received
        if latch.stopped and isinstance(message, Drive) and message.deadman:
            return refused("stopped", f"stopped by {latch.stopped_by}; an operator has to re-arm it")
        return None

    def silence(self, now: float) -> float:
        """Seconds since the last message that counted; infinite without a page."""
        return now - self._heard
