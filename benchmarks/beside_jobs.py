"""What a job on the same machine takes from the robot: control loop and echo on a quiet machine, beside work that wants
every core at the usual priority, and beside the same work at the priority of jobs.

    python benchmarks/beside_jobs.py [--json FILE] [--turns N] [--seconds S]

The three take turns, so that whatever else the machine does falls on all of them. The work is matrix products in one
process with a thread a core, as a training on CPUs is. The host is real, see benchmarks/live.py.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from live import Host, Page, spread, studio_with_host

from backend.core.settings import Settings
from dexvla.files import write_json
from worker.core.processes import die_with_parent, giving_way

JOB_NICE: int = Settings.model_fields["job_nice"].default
WORK = "import torch\na = torch.randn(1500, 1500)\nprint('ready', flush=True)\nwhile True:\n    a @ a"
ECHOES = 50
Start = Callable[[], Callable[[], None]]
BESIDE: dict[str, Start | None] = {
    "quiet": None,
    "usual priority": lambda: die_with_parent(signal.SIGKILL),
    "priority of jobs": lambda: giving_way(JOB_NICE, die_with_parent(signal.SIGKILL), session=True),
}


@contextmanager
def work(start: Start | None) -> Iterator[None]:
    if start is None:
        yield
        return
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count())}
    command = [sys.executable, "-c", WORK]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=start()
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def measure(host: Host, seconds: float) -> tuple[list[float], list[float]]:
    """Somebody drives: how far control steps were off their time, and echoes, milliseconds."""
    page = Page(host)
    page.send(deadman=False)
    first = max(host.rows)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.hold(0.5)
    page.send(deadman=False)
    page.close()
    rows = [host.rows[step][0] for step in sorted(host.rows) if step > first]
    off = [abs(after - before - 0.02) * 1000 for before, after in itertools.pairwise(rows)]
    page, trips = Page(host, reads=False), []
    for _ in range(ECHOES):
        sent = page.send(kind="pulse")
        page.echo()
        trips.append((time.monotonic() - sent) * 1000)
        time.sleep(0.02)
    page.close()
    return off, trips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--turns", type=int, default=5, help="of each of the three (default 5)")
    parser.add_argument("--seconds", type=float, default=8.0, help="driven in a turn (default 8)")
    arguments = parser.parse_args()
    off: dict[str, list[float]] = {name: [] for name in BESIDE}
    trips: dict[str, list[float]] = {name: [] for name in BESIDE}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="beside-") as folder, studio_with_host(Path(folder)) as (_, host):
        for _, (name, start) in itertools.product(range(arguments.turns), BESIDE.items()):
            with work(start):
                steps, echoes = measure(host, arguments.seconds)
            off[name] += steps
            trips[name] += echoes
            host.until(lambda state: state["holder"] is None)
    report: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "beside": {name: {"off_ms": spread(off[name]), "echo_ms": spread(trips[name])} for name in BESIDE},
    }
    row = "{:<20} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}".format
    print(row("beside", "50 Hz p50", "p99", "max", "echo p50", "p99", "max"))
    for name, figures in report["beside"].items():
        print(row(name, *(figures[what][part] for what in ("off_ms", "echo_ms") for part in ("p50", "p99", "max"))))
    if arguments.json is not None:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
