"""The stop of a robot: latched, kept across restarts of the host. Holds no robot and does no waiting."""

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dexvla.files import fsync_path, write_json


@dataclass(frozen=True, kw_only=True)
class Latch:
    """epoch: counts stops and re-arms. stopped_by, reason: of the stop that is latched, None while armed."""

    epoch: int
    since: datetime
    stopped_by: str | None = None
    reason: str | None = None

    @property
    def stopped(self) -> bool:
        return self.stopped_by is not None


class StopLatch:
    """Anybody may `stop`, from any thread; `arm` releases. The file remembers a stop if the host dies meanwhile.

    A file that cannot be read counts as a stop: not to move is the safe side. The state in memory changes before the
    file is written, so a slow or full disk delays nobody.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._now = self._remembered()

    @property
    def now(self) -> Latch:
        return self._now

    def stop(self, *, by: str, reason: str = "") -> Latch:
        """Latch. A stop on top of a stop leaves the first one's name."""
        with self._lock:
            if not self._now.stopped:
                epoch = self._now.epoch + 1
                self._now = Latch(epoch=epoch, since=datetime.now(UTC), stopped_by=by, reason=reason or None)
            return self._now

    def arm(self) -> Latch:
        with self._lock:
            if self._now.stopped:
                self._now = Latch(epoch=self._now.epoch + 1, since=datetime.now(UTC))
            return self._now

    def remember(self) -> None:
        """Bring the file up to date; OSError if the disk refuses."""
        with self._writing:
            now = self._now
            if now.stopped:
                value = {"by": now.stopped_by, "reason": now.reason, "since": now.since.isoformat()}
                write_json(self._file, value)
            elif self._file.exists():
                self._file.unlink()
                fsync_path(self._file.parent)

    def _remembered(self) -> Latch:
        try:
            value = json.loads(self._file.read_text(encoding="utf-8"))
            since = datetime.fromisoformat(value["since"])
            return Latch(epoch=1, since=since, stopped_by=str(value["by"]), reason=value["reason"])
        except FileNotFoundError:
            return Latch(epoch=0, since=datetime.now(UTC))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{self._file} cannot be read, so a stop is assumed: {error}"
            return Latch(epoch=1, since=datetime.now(UTC), stopped_by="robot host", reason=reason)
