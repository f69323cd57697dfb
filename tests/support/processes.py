"""Processes that a test looks at: whose children they are, and what they do meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READY = "Studio ready: "  # what `studio up` prints before its address


def children(pid: int, word: str = "") -> list[int]:
    """Of all threads of `pid`; those with `word` in their command line."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    pids = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [child for child in pids if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]


def of_studio(data: Path) -> set[int]:
    """Processes with this data folder in their environment, ended ones that nobody has waited for left out."""
    mark = f"STUDIO_DATA={data}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stopped one after the other as with Ctrl-Z; they go on at the end, those that were killed meanwhile do not."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
