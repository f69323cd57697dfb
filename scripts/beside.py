"""Run a command, and whatever it starts, only where nothing else wants the processor.

    python scripts/beside.py COMMAND...

`nice` is not enough on Linux, whose scheduler shares the processor out between sessions first (sched_autogroup): every
process that begins one of its own, as a studio's do, would have a whole share again. Those are looked for as long as
the command runs.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

NICE = 12
EVERY_SECONDS = 1.0


def lower(pid: int) -> None:
    """Its session, unless it has been lowered, or the kernel knows of no such thing."""
    with suppress(OSError):
        share = Path(f"/proc/{pid}/autogroup")
        if share.read_text().rstrip().endswith("nice 0"):
            share.write_text(str(NICE))


def main() -> int:
    os.nice(NICE)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    with subprocess.Popen(sys.argv[1:], start_new_session=True) as command:
        lower(command.pid)
        while command.poll() is None:
            while asked:
                os.killpg(command.pid, asked.pop())
            with suppress(psutil.Error):
                for process in psutil.Process().children(recursive=True):
                    lower(process.pid)
            time.sleep(EVERY_SECONDS)
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
