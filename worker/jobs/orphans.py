"""The lock of a job: one attempt at a time on a machine, also when a runner was killed and its process lives on.

The process inherits the lock's descriptor. A new attempt that finds the lock taken by the process of a dead runner
ends that process first.
"""

import fcntl
import json
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from dexvla.files import write_json


def try_lock(folder: Path) -> int | None:
    """An open, locked descriptor of the job's lock file, or None if another attempt holds it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def lock_of_ended(folder: Path, *, seconds: float = 5.0) -> int | None:
    """As `try_lock`, for after `end_orphan`: what was killed takes a moment to be gone."""
    deadline = time.monotonic() + seconds
    while (lock := try_lock(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return lock


def remember(folder: Path, child: int) -> None:
    """Write down who runs the attempt, for `end_orphan`."""
    own = os.getpid()
    write_json(
        folder / "process.json",
        {
            "host": socket.gethostname(),
            "runner": own,
            "runner_started": _started(own),
            "child": child,
            "child_started": _started(child),
        },
    )


def end_orphan(folder: Path, *, grace: float) -> bool:
    """End the process of an attempt whose runner is dead: SIGTERM, `grace` seconds, SIGKILL to its group.

    Returns whether its runner is dead. Does nothing for one on another machine, or whose runner lives.
    """
    try:
        found = json.loads((folder / "process.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    if found["host"] != socket.gethostname() or _started(found["runner"]) == found["runner_started"]:
        return False
    child, started = found["child"], found["child_started"]
    if _started(child) == started and grace:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while _started(child) == started and time.monotonic() < deadline:
            time.sleep(0.1)
    with suppress(ProcessLookupError, PermissionError):
        if _started(child) in {started, None}:  # None: the leader is gone, but its group may still hold the lock
            os.killpg(child, signal.SIGKILL)
    return True


def _started(process: int) -> str | None:
    """When the process was started, in the kernel's ticks: with its number, who it is. None if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
