"""Processes that a test looks at: whose children they are, and what they do meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

READY = "Studio ready: "  # what `studio up` prints before its address


def children(pid: int, word: str = "") -> list[int]:
    """Those of `pid`; given a `word`, those with it in their command line, which ended ones no longer have."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with suppress(psutil.Error):
                if not word or any(word in argument for argument in child.cmdline()):
                    found.append(child.pid)
    return found


def alive(pid: int) -> bool:
    """False also for a process that has ended and that nobody has waited for. A killed one whose threads are still on
    their way out cannot be waited for yet, and looks alive to its parent: it is."""
    with suppress(psutil.NoSuchProcess, OSError):
        if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            return True
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    return False


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its descendants that still run, s."""
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system
    return total


def of_studio(data: Path) -> set[int]:
    """Processes with this data folder in their environment, ended ones that nobody has waited for left out."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("STUDIO_DATA") == str(data):
                found.add(process.pid)
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
