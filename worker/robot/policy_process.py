"""`dexvla serve` as a child of the host: on a free port of loopback, with a key of its own; one may wait, loaded."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from dexvla.errors import UserError
from worker.core.processes import die_with_parent, giving_way

_KEY = "STUDIO_POLICY_KEY"
_READY_SECONDS = 600.0  # a large checkpoint from a slow disk
_LOOK_SECONDS = 0.05
_END_SECONDS = 2.0
_SERVING = re.compile(rb"^serving on (ws://\S+)\s*$", re.MULTILINE)
_LOADING = re.compile(rb"^loading ", re.MULTILINE)
_UNUSED_SECONDS = 600.0  # a process that waits for nobody ends
STARTING, _LOADING_WORD = "Starting the policy's process", "Loading the policy's weights"
_LEAST_FREE_BYTES = 1.5 * 2**30  # a process that waits takes half of it
_LOGS = 4  # files in turn: a process that ends writes beside one that begins


class PolicyProcessError(UserError):
    """The policy's process could not start or has ended: with what it said last. again: another try may do."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class PolicyProcess:
    """Made by `PolicyProcesses`: the kernel kills it when the thread that started it ends.

    nice: above 0 on a robot that cannot wait for its policy, whose control loop and frames then go first.
    """

    def __init__(self, checkpoint: Path, *, log_file: Path, nice: int = 0) -> None:
        self.checkpoint = checkpoint
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
                preexec_fn=giving_way(nice, die_with_parent(signal.SIGKILL)),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def phase(self) -> str:
        """How far it is with loading, for people."""
        found = _LOADING.search(self._log_file.read_bytes())
        return _LOADING_WORD if found else STARTING

    @property
    def ready(self) -> bool:
        return _SERVING.search(self._log_file.read_bytes()) is not None

    def ended_within(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.alive

    def address(self, cancelled: threading.Event) -> str | None:
        """Wait until it serves; its ws:// address, None when cancelled. Raises PolicyProcessError if it ends first."""
        deadline = time.monotonic() + _READY_SECONDS
        while not cancelled.wait(_LOOK_SECONDS):
            alive, said = self.alive, self._log_file.read_bytes()
            found = _SERVING.search(said)
            if found and alive:
                return found[1].decode()
            if not alive:
                # It refused the checkpoint in one line of its own, and would refuse it again.
                refused = self._process.poll() == 1 and b"Traceback" not in said
                raise PolicyProcessError(f"the policy could not be loaded: {self.last_words()}", again=not refused)
            if time.monotonic() > deadline:
                raise PolicyProcessError(f"the policy was not loaded within {_READY_SECONDS:.0f} s", again=False)
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


class PolicyProcesses:
    """Starts policies' processes, in a thread that lives as long as this. Any thread may call it.

    spare: the checkpoint of which one process may wait, loaded, for `take`; None keeps none. It begins to load with
    `prepare`, stays when who took it gives it back, and ends after ten minutes without either.
    """

    def __init__(self, *, log_file: Path, spare: Path | None, nice: int = 0) -> None:
        self._log_file, self._spare_of, self._nice = log_file, spare, nice
        self._spare: PolicyProcess | None = None
        self._asked = 0.0  # when the spare was last asked for, time.monotonic()
        self._started = 0
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policies", daemon=True)
        self._thread.start()

    def prepare(self) -> None:
        """Load the spare, if there is none and memory enough for one. Waits for nothing."""
        self._do(self._prepare)

    def take(self, checkpoint: Path) -> PolicyProcess:
        """A process that serves `checkpoint` or will; it is the caller's. Raises OSError if none can be started."""
        taken: PolicyProcess = self._do(lambda: self._take(checkpoint)).result()
        return taken

    def give_back(self, process: PolicyProcess) -> None:
        """It is not needed any more: it waits as the spare, or ends. Waits for nothing."""
        self._do(lambda: self._keep(process))

    def close(self, seconds: float) -> None:
        """End the spare. What others took is theirs to end."""
        self._ended.set()
        self._woken.set()
        self._thread.join(seconds)

    def _do(self, job: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self._jobs.append((job, future))
        self._woken.set()
        return future

    def _run(self) -> None:
        while not self._ended.is_set():
            self._woken.wait(_UNUSED_SECONDS / 10)
            self._woken.clear()
            while self._jobs:
                job, future = self._jobs.popleft()
                try:
                    future.set_result(job())
                except BaseException as error:  # handed to who waits, as concurrent.futures does
                    future.set_exception(error)
            if time.monotonic() - self._asked > _UNUSED_SECONDS:
                self._drop()
        self._drop()

    def _new(self, checkpoint: Path) -> PolicyProcess:
        number = self._started % _LOGS
        self._started += 1
        log_file = self._log_file if number == 0 else self._log_file.with_suffix(f".{number}.log")
        return PolicyProcess(checkpoint, log_file=log_file, nice=self._nice)

    def _prepare(self) -> None:
        self._asked = time.monotonic()
        if self._spare is not None and not self._spare.alive:
            self._drop()
        if self._spare is None and self._spare_of is not None and _free_bytes() > _LEAST_FREE_BYTES:
            self._spare = self._new(self._spare_of)

    def _take(self, checkpoint: Path) -> PolicyProcess:
        spare = self._spare
        if spare is not None and spare.checkpoint == checkpoint and spare.alive:
            self._spare = None
            return spare
        return self._new(checkpoint)

    def _keep(self, process: PolicyProcess) -> None:
        if process.checkpoint == self._spare_of and process.alive:
            # The one that is loaded stays.
            worse = self._spare if process.ready or self._spare is None else process
            if worse is not process:
                self._spare, self._asked = process, time.monotonic()
        else:
            worse = process
        if worse is not None:
            worse.end()

    def _drop(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.end()


def _free_bytes() -> int:
    """Memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)
