"""Child processes that never outlive their parent."""

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
