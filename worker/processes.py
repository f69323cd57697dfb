"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGTERM) -> Callable[[], None]:
    """For Popen's preexec_fn: the kernel sends `number` to the child when the parent's thread ends, however it ends.

    Linux only; start such children from a thread that lives as long as the process.
    """
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died in between: nobody will tell us
            os._exit(1)

    return prepare


def giving_way(nice: int, before: Callable[[], None], *, session: bool = False) -> Callable[[], None]:
    """For Popen's preexec_fn: `before`, then a smaller share of a busy processor (`nice`, 1 to 19; 0 the same).

    session: the child begins a session of its own. Where the kernel shares by session (autogroup), niceness counts
    inside of one alone, so the session's is set too.
    """

    def prepare() -> None:
        before()
        os.nice(nice)
        if session:
            with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
                group.write(str(nice))

    return prepare
