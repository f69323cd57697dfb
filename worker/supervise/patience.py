"""How long a start may take: as long as something moves. A slow disk, a busy machine and a first start take minutes; a
part that hangs is told by doing nothing at all.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_IDLE_SHARE = 0.01  # of a processor: what a part that only waits may use
_LOOK_SECONDS = 1.0
_TELL_SECONDS = 10.0


@dataclass(frozen=True)
class Effort:
    """What a process and its descendants have done so far: seconds of processor, bytes of disk, bytes of log."""

    cpu_seconds: float = 0.0
    disk: int = 0
    log_bytes: int = 0


def effort(pid: int, log: Path) -> Effort:
    """Nothing for what has ended. disk: bytes read and written, where the kernel tells them."""
    cpu, disk = 0.0, 0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                used = one.cpu_times()
                cpu += used.user + used.system
            with suppress(psutil.Error, AttributeError, NotImplementedError):
                moved = one.io_counters()
                disk += moved.read_bytes + moved.write_bytes
    size = 0
    with suppress(OSError):
        size = log.stat().st_size
    return Effort(cpu, disk, size)


@dataclass
class Patience:
    """Watches parts that are waited for, by name: process and log. `seconds`: without a movement, none is left.

    longest: in all, however busy they are, because a loop without an end is busy too.
    """

    seconds: float
    longest: float
    _began: float = field(default_factory=time.monotonic)
    _looked: float = float("-inf")
    _told: float = field(default_factory=time.monotonic)
    _moved: dict[str, tuple[float, Effort]] = field(default_factory=dict)

    def lost(self, parts: Iterable[tuple[str, int, Path]]) -> str | None:
        """Why it is not worth waiting for these parts any longer, None while it is. Looks once a second at most."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        waited = now - self._began
        names = []
        for name, pid, log in parts:
            names.append(name)
            then, before = self._moved.setdefault(name, (now, effort(pid, log)))
            found = effort(pid, log)
            used = found.cpu_seconds - before.cpu_seconds
            if (found.disk, found.log_bytes) != (before.disk, before.log_bytes) or used > _IDLE_SHARE * self.seconds:
                self._moved[name] = now, found
            elif now - then > self.seconds:
                return f"{name} is not ready after {waited:.0f} s, and for {now - then:.0f} s nothing of it has moved"
        if names and waited > self.longest:
            return f"{' and '.join(names)} not ready after {waited / 60:.0f} minutes, though not idle"
        return None

    def news(self, names: Iterable[str]) -> str | None:
        """What is waited for, every ten seconds."""
        now = time.monotonic()
        if now - self._told < _TELL_SECONDS:
            return None
        self._told = now
        return f"Still starting after {now - self._began:.0f} s: waiting for {' and '.join(names)}"
