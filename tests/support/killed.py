"""Run something in a process of its own and kill -9 it: after a time, or at one of the moments that count."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

# what changes a disk: a kill right before each of them is a kill at every state that a disk can be left in
_MOMENTS = ("replace", "rename", "fsync", "mkdir", "unlink", "link")


def seed(name: str) -> int:
    """KILL_SEED=n repeats the moments of a run that failed."""
    chosen = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{name}: KILL_SEED={chosen}")  # noqa: T201
    return chosen


def moments(work: Callable[[], object]) -> int:
    """How many moments `work` has, which is done once to its end."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        count = [0]
        _count(lambda: count.__setitem__(0, count[0] + 1))
        status = _do(work)
        os.write(write, str(count[0]).encode())
        os._exit(status)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    with os.fdopen(read, "rb") as pipe:
        return int(pipe.read())


def killed(work: Callable[[], object], *, moment: int | None = None, seconds: float | None = None) -> bool:
    """Whether `work` was killed, right before its `moment` (from 1) or after `seconds`, and did not end before that."""
    process = os.fork()
    if process == 0:
        if moment is not None:
            left = [moment]

            def one() -> None:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            _count(one)
        os._exit(_do(work))
    if seconds is not None:
        timer = threading.Timer(seconds, os.kill, (process, signal.SIGKILL))
        timer.start()
        # the process stays a zombie until it is waited for: its number cannot be another's
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        timer.cancel()
        timer.join()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), f"it failed with {status} before it was killed"
    return status == -signal.SIGKILL


def took(work: Callable[[], object]) -> float:
    started = time.monotonic()
    assert not killed(work)
    return time.monotonic() - started


def _do(work: Callable[[], object]) -> int:
    try:
        work()
    except BaseException:
        import traceback

        traceback.print_exc()
        return 3
    return 0


def _count(one: Callable[[], None]) -> None:
    for name in _MOMENTS:
        real: Any = getattr(os, name)

        def wrapped(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
            one()
            return _real(*args, **kwargs)

        setattr(os, name, wrapped)
