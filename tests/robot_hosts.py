"""Real robot hosts for tests: processes of their own, as `studio robot` starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.settings import Settings

ROOT = Path(__file__).parents[1]


@contextmanager
def robot_host(settings: Settings, name: str = "aloha-sim") -> Iterator[subprocess.Popen[bytes]]:
    """A host of the simulated ALOHA on the studio of `settings`; killed at the end if it still runs."""
    code = (
        f"from backend.settings import Settings; from worker.robot_host.main import run; run(Settings(), name={name!r})"
    )
    environment = os.environ | {"STUDIO_DATA": str(settings.data), "REDIS_URL": settings.events_url}
    if settings.robot_address is not None:
        environment["STUDIO_ROBOT_ADDRESS"] = settings.robot_address
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> float:
    """Seconds until it holds. Fails after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - started


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children that still run, s."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            total += cpu_seconds(int(child))
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return total + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
