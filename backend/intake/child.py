"""A confined process as whoever started it sees it: it ends with all that it started, and what it says is bounded.

It is forked by a warm process (`backend.intake.warm`), one of which is started with the first file.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import structlog

import backend
from backend.core.errors import UnavailableError

TRIES = 3  # where a process is lost
_LONGEST_COMPLAINT, _COMPLAINTS = 4096, 256  # bytes of a line, lines
_LONGEST_WORD = 64  # bytes of a message about a process
_DYING_SECONDS = 10
_RETRY_SECONDS = 10
# of our environment: nothing else, which may hold passwords of the database and the broker
_ENVIRONMENT = {"PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR"}

_log = structlog.get_logger(__name__)


class NoReaderError(UnavailableError):
    """No process that looks at files can be started; nothing is known of the file. Trying again later may do."""

    code = "no_reader"


class LostError(Exception):
    """The warm process was ended, and the one it had forked with it; another try finds a new one."""


class Child:
    """A process, and the first lines of its complaints. Whatever else it complains of is read and dropped."""

    def __init__(self, line: socket.socket, stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._line, self._stdin, self.stdout = line, stdin, stdout
        self.pid = int(_word(line) or 0)  # 0: it was not forked, since the warm process has just ended
        self._status: int | None = None
        self._complaints: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, args=(stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stderr: IO[bytes]) -> None:
        with stderr:
            while part := stderr.readline(_LONGEST_COMPLAINT):
                if len(self._complaints) < _COMPLAINTS:
                    self._complaints.append(part)

    def send(self, line: bytes) -> None:
        """To its standard input."""
        with suppress(BrokenPipeError):  # it has ended; what it said last is still to be read
            self._stdin.write(line)
            self._stdin.flush()

    @property
    def status(self) -> int:
        """As of subprocess, once it is over."""
        assert self._status is not None, "nobody has waited for it"
        return self._status

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is over, at the latest after `seconds`. Raises LostError."""
        if self._status is None:
            self._line.settimeout(seconds)
            try:
                word = _word(self._line)
            except TimeoutError:
                return False
            if not word:
                self._listener.join(_DYING_SECONDS)  # nobody writes any more once it has nothing to complain with
                raise LostError
            self._status = int(word)
        return True

    def end(self) -> None:
        """With whatever it has started."""
        with suppress(OSError):  # gone with the warm process
            self._line.send(b"k")

    def complaints(self) -> str:
        """Of a process that is over: all that it had time to say."""
        self.end()  # what it started and left keeps its outputs open
        self._listener.join()
        return b"".join(self._complaints).decode(errors="replace")

    def close(self) -> None:
        self.end()
        with suppress(LostError):
            self.wait()
        self._line.close()
        self.stdout.close()
        with suppress(BrokenPipeError):
            self._stdin.close()


def _word(line: socket.socket) -> bytes:
    """Nothing once the warm process is gone."""
    with suppress(ConnectionResetError):
        return line.recv(_LONGEST_WORD)
    return b""


class _Warm:
    """The warm process of this one: started when it is needed, and anew when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._processes: list[subprocess.Popen[bytes]] = []  # former ones may look at files still

    def ask(self, module: str, descriptors: list[int]) -> None:
        """Where it cannot be started, or ends at once, the descriptors are closed with nobody having heard of them."""
        with self._lock:
            with suppress(OSError):
                if self._requests is not None:
                    socket.send_fds(self._requests, [module.encode()], descriptors)
                    return
            try:
                socket.send_fds(self._start(), [module.encode()], descriptors)
            except OSError as error:
                _log.warning("intake.not_started", error=str(error))

    def _start(self) -> socket.socket:
        self._processes = [process for process in self._processes if process.poll() is None]
        environment = {key: value for key, value in os.environ.items() if key in _ENVIRONMENT}
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "backend.intake.warm"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**environment, "HDF5_PLUGIN_PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                cwd=Path(backend.__file__).parent.parent,
                start_new_session=True,
            )
        self._processes.append(process)
        return self._requests


_warm = _Warm()


@contextmanager
def started(module: str) -> Iterator[Child]:
    """`main` of the module in a process of its own, with nothing of our environment that it does not need, until the
    end of the context. Raises NoReaderError."""
    for _ in range(TRIES):
        child = _forked(module)
        try:
            if child.pid:
                yield child
                return
        finally:
            child.close()
    raise NoReaderError(
        "The studio cannot start the process that looks at files; its log says why (no memory, or no room for another "
        "process, perhaps). Nothing was taken in; try again in a moment.",
        retry_seconds=_RETRY_SECONDS,
    )


def _forked(module: str) -> Child:
    with ExitStack() as theirs:
        line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.enter_context(far)
        ends = [os.pipe() for _ in range(3)]  # input, output, error
        given = [ends[0][0], ends[1][1], ends[2][1]]
        for descriptor in given:
            theirs.callback(os.close, descriptor)
        _warm.ask(module, [far.fileno(), *given])
    return Child(line, os.fdopen(ends[0][1], "wb"), os.fdopen(ends[1][0], "rb"), os.fdopen(ends[2][0], "rb"))
