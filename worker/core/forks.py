"""Children of ours that begin as a fork of this process.

What this process has imported they have at once, and share its memory until they write to it. A process that begins
with an interpreter of its own spends a second of a processor and a hundred megabytes on the same modules.
"""

import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

import psutil

_THREADS = "OPENBLAS_NUM_THREADS"  # read when numpy is imported, whose library for matrices starts that many


class Child(Protocol):
    """What a subprocess.Popen and a Fork have in common."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Fork:
    """As a subprocess.Popen, of a child that was forked. returncode: minus the signal that ended it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            try:
                status = self._process.wait(timeout)
            except psutil.TimeoutExpired:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            if self.returncode is None:  # else somebody who waits for any child was told
                self.returncode = 0 if status is None else int(status)
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:  # else its number may be another process's by now
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@contextmanager
def one_thread() -> Iterator[None]:
    """Around the first import of numpy in a process that is to be forked: it starts no threads of its own then. What
    somebody set for the programs that we start stays as it is."""
    given = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if given is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = given


def begin(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    before: Callable[[], None],
    output: int | None = None,
    fds: Collection[int] = (),
    session: bool = False,
    fork: bool = True,
) -> Child:
    """Start a program of this environment, `[sys.executable, "-m", MODULE, ...]`, whose MODULE has a main(): as a fork,
    or with an interpreter of its own where a fork of this process is not sound. Other programs always have their own.

    before: called in the child, for what is said to the kernel. output: descriptor for what it writes; None: ours.
    fds: descriptors that it keeps; all others of ours are closed in it. session: it begins one. fork: False asks for an
    interpreter of its own, as from a running event loop. Raises OSError.
    """
    if not fork or list(argv[:2]) != [sys.executable, "-m"] or not _sound():
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            pass_fds=tuple(fds),
            env=environment,
            start_new_session=session,
            preexec_fn=before,
        )
    _flush()
    # A signal that came before the child has forgotten our handlers would be heard by those, and lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        if (pid := os.fork()) == 0:
            _become(argv[2], list(argv[3:]), environment, before, output, fds, session)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Fork(pid)


def _sound() -> bool:
    """One thread, those of libraries included: the locks of others would stay locked in a fork, and nobody would do
    their work. And no open SQLite file: SQLite keeps what it knows of each in the process, and a fork's own use of the
    same file fails with "locking protocol"."""
    if len(os.listdir("/proc/self/task")) > 1:
        return False
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists them
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith((".db", "-wal", "-shm")):
                return False
    return True


def _become(
    module: str,
    arguments: list[str],
    environment: Mapping[str, str],
    before: Callable[[], None],
    output: int | None,
    fds: Collection[int],
    session: bool,
) -> NoReturn:
    """Never returns to the frames below, whose objects therefore live on: nothing of them is closed or removed here."""
    status = 1
    try:
        gc.freeze()  # nor looked at, which would copy their pages
        _forget_handlers()
        before()
        if session:
            os.setsid()
        _only(fds, output)
        _call_it(f"python -m {' '.join([module, *arguments])}")  # it looks for its place in what we began with
        os.environ.clear()
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        sys.argv = [module, *arguments]
        importlib.import_module(module).main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as every interpreter's end does
        _flush()
        os._exit(status)


def _forget_handlers() -> None:
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)


def _only(fds: Collection[int], output: int | None) -> None:
    """Close all descriptors but these and the three that every process has, which lead to nowhere and to `output`."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in fds:
            with suppress(OSError):  # the one that lists them
                os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]  # a log is read while it is written


def _call_it(title: str) -> None:
    """What `ps` shows. Only over our own arguments: what stands behind them is the environment, by which a studio's
    processes are found."""
    os.environ["SPT_NOENV"] = "1"
    import setproctitle

    setproctitle.setproctitle(title)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
