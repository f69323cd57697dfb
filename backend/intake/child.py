"""A confined process as whoever started it sees it: it ends with all that it started, and what it says is bounded."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import backend

_LONGEST_COMPLAINT, _COMPLAINTS = 4096, 256  # bytes of a line, lines
# of our environment: nothing else, which may hold passwords of the database and the broker
_ENVIRONMENT = {"PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR"}


class Child:
    """A process, and the first lines of its complaints. Whatever else it complains of is read and dropped."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.stdout = process, process.stdout
        self._complaints: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stderr: IO[bytes]) -> None:
        while part := stderr.readline(_LONGEST_COMPLAINT):
            if len(self._complaints) < _COMPLAINTS:
                self._complaints.append(part)

    def end(self) -> None:
        """With whatever it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def complaints(self) -> str:
        """Of a process that is over: all that it had time to say."""
        self.end()  # what it started and left keeps its outputs open
        self._listener.join()
        return b"".join(self._complaints).decode(errors="replace")


@contextmanager
def started(module: str, arguments: Sequence[str] = (), *, stdin: int) -> Iterator[Child]:
    """`python -m module`, with nothing of our environment that it does not need, until the end of the context."""
    environment = {key: value for key, value in os.environ.items() if key in _ENVIRONMENT}
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "HDF5_PLUGIN_PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(backend.__file__).parent.parent,
        start_new_session=True,
    ) as process:
        child = Child(process)
        try:
            yield child
        finally:
            child.end()
            process.wait()
            child.complaints()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
