"""The process that makes the episode file of a recording (dexvla.recording.finish), started when the recording begins
so that it is loaded when it ends. In the host's own process the work would hold up the control loop."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from dexvla.errors import EpisodeError

_SECONDS = 300.0


class Finisher:
    """`prepare` may come from any thread, the rest from one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Have a process ready. Takes no time. Raises OSError."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "dexvla.recording.finish"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )

    def finish(self, journal: Path, episode: Path) -> int:
        """Make the episode file; returns its steps, 0 where none was kept and no file made. Raises EpisodeError for
        what is no recording, OSError for a full disk or a process that died."""
        self.prepare()
        process = self._take()
        assert process is not None
        try:
            said, _ = process.communicate(json.dumps([str(journal), str(episode)]) + "\n", timeout=_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError) as error:
            process.kill()
            process.communicate()
            raise OSError(f"the episode file could not be made: {error}") from error
        answer: dict[str, Any] = json.loads(said) if said.strip() else {"died": process.returncode}
        if "unreadable" in answer:
            raise EpisodeError(answer["unreadable"])
        if "steps" not in answer:
            raise OSError(f"the episode file could not be made: {answer}")
        return int(answer["steps"])

    def close(self) -> None:
        process = self._take()
        if process is not None:
            process.communicate("")

    def _take(self) -> "subprocess.Popen[str] | None":
        with self._lock:
            process, self._process = self._process, None
        return process
