"""`python -m worker.jobs.launch N train ...`: `dexvla` in N processes of one machine, one a GPU.

The environment is that of `accelerate launch`, which dexvla's trainer reads. Its own launcher is not used because of
how it ends: torchrun kills its processes 30 s after SIGTERM, in the middle of writing tens of gigabytes of checkpoint.
Here SIGTERM and SIGINT are passed on as SIGTERM, and the processes have as long as whoever started this gives them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

from worker.core.processes import die_with_parent

_SECONDS_AFTER_A_FAILURE = 30.0  # for the others, which may wait for the one that failed


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What accelerate reads in a process of several on one machine."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def main(arguments: list[str]) -> int:
    processes = int(arguments[0])
    command = [sys.executable, "-m", "dexvla.cli", *arguments[1:]]
    port = _free_port()
    children: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for child in children:
            child.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    for rank in range(processes):
        # close_fds: they hold the job's lock too, so that nobody starts beside them should this process be killed
        child = subprocess.Popen(
            command, env=environment(rank, processes, port), preexec_fn=die_with_parent(), close_fds=False
        )
        children.append(child)
        if asked:
            child.send_signal(signal.SIGTERM)
    return _wait(children)


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    """Until all have ended. If one fails, the others are asked to end, then killed; its status is returned."""
    failed: int | None = None
    deadline = 0.0
    while any(child.poll() is None for child in children):
        statuses = [child.poll() for child in children]
        if failed is None:
            failed = next((status for status in statuses if status not in (None, 0, 130)), None)
            if failed is not None:
                deadline = time.monotonic() + _SECONDS_AFTER_A_FAILURE
                for child in children:
                    child.terminate()
        elif time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(0.2)
    statuses = [child.returncode for child in children]
    status = failed if failed is not None else next((one for one in statuses if one), 0)
    return 128 - status if status < 0 else status


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
