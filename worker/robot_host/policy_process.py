"""`dexvla serve` as a child of the host: on a free port of loopback, with a key of its own, at a low priority."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from dexvla.errors import UserError
from worker.processes import die_with_parent, giving_way

_KEY = "STUDIO_POLICY_KEY"
_READY_SECONDS = 600.0  # a large checkpoint from a slow disk
_LOOK_SECONDS = 0.05
_END_SECONDS = 2.0
_NICE = 10  # the control loop and its pictures go first
_SERVING = re.compile(rb"^serving on (ws://\S+)\s*$", re.MULTILINE)


class PolicyProcessError(UserError):
    """The policy's process could not start or has ended: with what it said last."""


class PolicyProcess:
    """Start it from a thread that lives as long as it is needed: the kernel kills it when that thread ends."""

    def __init__(self, checkpoint: Path, *, log_file: Path) -> None:
        self.key = secrets.token_urlsafe(24)
        self._log_file = log_file
        command = [sys.executable, "-m", "dexvla.cli", "serve", str(checkpoint), "--port", "0", "--api-key-env", _KEY]
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, _KEY: self.key},
                preexec_fn=giving_way(_NICE, die_with_parent(signal.SIGKILL)),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ended_within(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.alive

    def address(self, cancelled: threading.Event) -> str | None:
        """Wait until it serves; its ws:// address, None when cancelled. Raises PolicyProcessError if it ends first."""
        deadline = time.monotonic() + _READY_SECONDS
        while not cancelled.wait(_LOOK_SECONDS):
            found = _SERVING.search(self._log_file.read_bytes())
            if found:
                return found[1].decode()
            if not self.alive:
                raise PolicyProcessError(f"the policy could not be loaded: {self.last_words()}")
            if time.monotonic() > deadline:
                raise PolicyProcessError(f"the policy was not loaded within {_READY_SECONDS:.0f} s")
        return None

    def last_words(self) -> str:
        """The last line that it wrote, or how it ended."""
        lines = self._log_file.read_bytes()[-4096:].decode("utf-8", "replace").strip().splitlines()
        status = self._process.poll()
        if status is not None and status < 0:
            return f"its process was ended by {signal.Signals(-status).name}"
        said = lines[-1].strip() if lines else ""
        return said or f"its process ended with status {status}"

    def end(self) -> None:
        """Ends it, within two seconds; it holds nothing that would be lost."""
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        if self.alive:
            self._process.kill()
            self._process.wait()
