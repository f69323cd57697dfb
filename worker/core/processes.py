"""Child processes that never outlive their parent, and who goes first on a busy processor."""

import contextlib
import ctypes
import gc
import os
import platform
import signal
import struct
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # number of the system call
_RESET_ON_FORK = 1
_PROMPT_NS = 100_000
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


def wake_promptly() -> bool:
    """The calling thread does little at a time and is waited for: on a busy processor let it run as soon as it wakes,
    instead of after what others have left of their turn (up to 4 ms each). Its share stays the same; threads and
    processes that it starts are as all others.

    Linux from 6.12 on knows such short turns; False elsewhere, and nothing changes.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # size, policy (SCHED_OTHER), flags, nice, priority, runtime (for this policy the turn), deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, 0, _RESET_ON_FORK, nice, 0, _PROMPT_NS, 0, 0)
    return bool(_libc.syscall(number, 0, ctypes.create_string_buffer(attributes), 0) == 0)


def keep_what_is_there() -> None:
    """For a process that has started: what it has by now stays, so nobody looks for garbage in it any more.

    A full collection looks at every object there is, and every thread waits: 0.12 s with all that is imported (a fourth
    of a million objects), several times a minute under load. From now on it looks at what came since.
    """
    gc.collect()
    gc.freeze()
