"""Child processes that should be running: what `studio up` and `studio worker` start, and start again when it dies."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.core.forks import Child, begin
from worker.core.processes import die_with_parent
from worker.supervise.restart import Restarts

_LOG_BYTES = 20 * 2**20


@dataclass
class Part:
    """log: where it writes, in a session of its own. None: where its parent writes, and in its parent's session."""

    name: str
    argv: list[str]
    log: Path | None = None
    fds: tuple[int, ...] = ()
    process: Child | None = None
    restarts: Restarts = field(default_factory=lambda: Restarts(first=0.5, longest=30.0))
    again_at: float = field(default=0.0)
    begins: int = 0  # where in its log the words of this process begin

    def start(self, environment: Mapping[str, str]) -> None:
        if self.log is None:
            self.process = self._begin(environment)
        else:
            if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
                os.replace(self.log, self.log.with_suffix(".log.1"))
            self.begins = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as output:
                self.process = self._begin(environment, output=output.fileno())
        self.restarts.begin()

    def _begin(self, environment: Mapping[str, str], *, output: int | None = None) -> Child:
        return begin(
            self.argv,
            environment=environment,
            before=die_with_parent(signal.SIGTERM),
            output=output,
            fds=self.fds,
            session=output is not None,
        )

    def tail(self) -> str:
        """The last line that this process wrote."""
        if self.log is None:
            return "see above"
        with self.log.open("rb") as log:
            log.seek(self.begins)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return lines[0] if lines else "it said nothing"

    def ending(self, status: int) -> str:
        """How it ended. What a killed process wrote last, at some time, has nothing to do with its end."""
        if status == -signal.SIGKILL:
            return "was killed (SIGKILL; the system does it where memory runs out)"
        if status < 0:
            return f"was ended by {signal.Signals(-status).name} ({self.tail()})"
        return f"ended with status {status} ({self.tail()})"


def look_after(parts: Iterable[Part], environment: Mapping[str, str], say: Callable[[str], object]) -> None:
    """Start again what died; longer pauses for what keeps dying."""
    now = time.monotonic()
    for part in parts:
        if part.process is None:
            if now >= part.again_at:
                part.start(environment)
        elif (status := part.process.poll()) is not None:
            pause = part.restarts.pause()
            when = "now" if pause < 1 else f"in {pause:.0f} s"
            say(f"{part.name} {part.ending(status)}; starting it again {when}")
            part.process, part.again_at = None, now + pause
