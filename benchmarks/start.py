"""What a start costs: `studio up` until it is ready, and `dexvla --help`; then a studio at rest.

    python benchmarks/start.py [--json FILE] [--rest SECONDS] [--times N] [--folder DIR]

Wall-clock and CPU seconds of the whole tree of processes, by process. `up` with a new data folder (the first) and with
one that was there. With --rest the studio is then left alone, with nobody signed in, and after half a minute each
process's share of a core is measured for so many seconds, and its memory (PSS: what is shared counts once).
"""

import argparse
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from dexvla.files import write_json

_SETTLE_SECONDS = 30.0


def name_of(process: psutil.Process) -> str:
    line = " ".join(process.cmdline()).split()  # a fork's title is one argument
    if "-m" in line:
        what = line[line.index("-m") + 1 :]
        if what[0] == "worker.cli":
            return f"studio {what[1]}"
        return (
            " ".join([what[0].rpartition(".")[2], *what[1:2]])[:40]
            if "celery" in what[0]
            else what[0].rpartition(".")[2]
        )
    return Path(line[0]).name if line else "?"


def tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu(pid: int) -> dict[int, tuple[str, float]]:
    """By pid. Children that have ended count for who waited for them."""
    found = {}
    for process in tree(pid):
        try:
            times = process.cpu_times()
            ended = times.children_user + times.children_system
            found[process.pid] = (name_of(process), times.user + times.system + ended)
        except psutil.NoSuchProcess:
            continue
    return found


def by_name(found: dict[int, tuple[str, float]]) -> dict[str, float]:
    names: dict[str, float] = {}
    for name, seconds in found.values():
        names[name] = round(names.get(name, 0.0) + seconds, 2)
    return dict(sorted(names.items(), key=lambda one: -one[1]))


def start(data: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "STUDIO_DATA": str(data), "STUDIO_PORT": str(port)}
    began = time.monotonic()
    command = [sys.executable, "-m", "worker.cli", "up"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "ready" in line:
            break
    else:
        raise SystemExit(f"the studio did not start: {''.join(said)}")
    took = time.monotonic() - began
    parts = by_name(cpu(process.pid))
    return process, {"seconds": round(took, 2), "cpu_seconds": round(sum(parts.values()), 2), "processes": parts}


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def at_rest(pid: int, seconds: float) -> dict[str, Any]:
    time.sleep(_SETTLE_SECONDS)
    before = cpu(pid)
    time.sleep(seconds)
    after = cpu(pid)
    share = {one: (name, after[one][1] - used) for one, (name, used) in before.items() if one in after}
    percent = {name: round(100 * used / seconds, 2) for name, used in by_name(share).items()}
    memory = {}
    for process in tree(pid):
        name = name_of(process)
        memory[name] = round(memory.get(name, 0.0) + process.memory_full_info().pss / 2**20, 1)
    return {
        "percent_of_a_core": {"all": round(sum(percent.values()), 2), **percent},
        "mib": {"all": round(sum(memory.values())), **memory},
    }


def help_cpu(times: int) -> float:
    used = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "dexvla.cli", "--help"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return round(statistics.median(used), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--rest", type=float, default=0.0)
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    options = parser.parse_args()
    report: dict[str, Any] = {"help_cpu_seconds": help_cpu(options.times), "up": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for number in range(options.times):
            process, figures = start(Path(folder) / "data")
            report["up"].append({"first": number == 0, **figures})
            if options.rest and number == options.times - 1:
                report["rest"] = at_rest(process.pid, options.rest)
            stop(process)
    if options.json:
        write_json(options.json, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
