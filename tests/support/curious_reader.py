"""In the place of backend.intake.inspect: a reader that a file took over, and that looks what it can reach."""

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from backend.intake import confine

_PTRACE_ATTACH = 16


def main() -> None:
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    match order["work"]:
        case "reach":
            _say(_reach(order))
        case "look":
            _say(_look(order["reversed"]))
        case "spy":
            _say(_spy(order))
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "wait":
            _say({"parent": os.getppid()})
            if sys.stdin.readline():
                _say({"still": True})


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _reach(order: dict[str, Any]) -> dict[str, Any]:
    source, target = Path(order["source"]), Path(order["target"])
    alone = confine.leave_network()
    kept = confine.keep_only(readable=source, writable=target)
    confine.limit(memory_bytes=2**30, cpu_seconds=60, file_bytes=1000)
    work: list[Callable[[], object]] = [
        source.read_text,
        Path(order["secret"]).read_text,
        lambda: os.listdir("/"),
        lambda: target.write_text("x" * 900),
        lambda: [_append(target, b"x" * 900) for _ in range(2)],
        lambda: _append(source, b"x"),
        lambda: Path(f"{target}.more").write_text("x"),
        lambda: socket.create_connection(("127.0.0.1", order["port"]), timeout=5),
        lambda: bytearray(2**31),
    ]
    return {"confined": [alone, kept], "outcomes": [_outcome(one) for one in work]}


def _append(path: Path, data: bytes) -> int:
    with path.open("ab", buffering=0) as file:
        return file.write(data)


def _outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"


def _look(backwards: list[str]) -> dict[str, Any]:
    """backwards: the texts that are searched in all of our memory, so that the order itself does not hold them."""
    return {
        "environment": [entry.partition("=")[0] for entry in Path("/proc/self/environ").read_text().split("\0")],
        "descriptors": _descriptors(),
        "threads": len(os.listdir("/proc/self/task")),
        "session": os.getsid(0),
        "held": [_held(text) for text in backwards],
    }


def _descriptors() -> list[int]:
    return [number for number in range(1000) if Path(f"/proc/self/fd/{number}").is_symlink()]


def _held(backwards: str) -> bool:
    """Compared byte by byte from the end, so that we make no copy that would be found."""
    head = backwards[-1:-9:-1].encode()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            place, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            first, last = (int(end, 16) for end in place.split("-"))
            try:
                memory.seek(first)
                data = memory.read(last - first)
            except OSError:
                continue
            at = data.find(head)
            while at >= 0:
                if all(data[at + i : at + i + 1] == backwards[-1 - i].encode() for i in range(len(backwards))):
                    return True
                at = data.find(head, at + 1)
    return False


def _spy(order: dict[str, Any]) -> dict[str, Any]:
    confined = confine.keep_only(readable=Path(order["source"]), writable=Path(order["target"]))
    libc = ctypes.CDLL(None, use_errno=True)

    def trace(pid: int) -> None:
        if libc.ptrace(_PTRACE_ATTACH, pid, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")

    return {
        "confined": confined,
        "landlock": libc.syscall(444, None, ctypes.c_size_t(0), 1),
        "opened": [_outcome(Path(other).read_bytes) for other in order["others"]],
        "traced": [_outcome(partial(trace, pid)) for pid in order["pids"]],
        "killed": [_outcome(partial(os.kill, pid, signal.SIGKILL)) for pid in order["pids"]],
    }
