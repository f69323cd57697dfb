"""Frames from a camera to a browser's canvas: latency, rate, what a stalled viewer does to others, cost of viewers.

    python benchmarks/live_video.py [--json FILE] [--seconds S] [--minutes M] [--viewers N]

Real processes as in a studio: a robot host with synthetic cameras (synthetic_video/host.py), the API, Chromium with the
live page's own code for sockets and canvases. Each frame carries the time it was made at, which the page reads back
from the canvas it drew: "stamp to draw". Three parts: one browser alone for S seconds; for M minutes beside a viewer
that acknowledges nothing; for S seconds beside N viewers that acknowledge without decoding. It all shares one machine.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from backend.core.db import Database
from backend.core.settings import Settings
from backend.migrations.migrate import migrate
from backend.robots.repository import by_name
from backend.studio.context import Studio
from dexvla.files import write_json
from worker.supervise.broker import broker_command

HERE = Path(__file__).parent / "synthetic_video"
ROOT = Path(__file__).parents[1]
ROBOT, CAMERAS = "synthetic", ["cam_0", "cam_1", "cam_2", "cam_3"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
API = "from backend.core.settings import Settings; from worker.supervise.api import serve; serve(Settings())"


# --- a studio -----------------------------------------------------------------------------------------------------


class Parts:
    """Processes of a studio, and what they cost."""

    def __init__(self, *, api: int, host: int, origin: str, cookie: str) -> None:
        self.api, self.host, self.origin, self.cookie = api, host, origin, cookie

    def cpu(self) -> dict[str, float]:
        """Processor seconds so far."""
        return {"api": cpu_seconds(self.api), "host": cpu_seconds(self.host)}

    def memory(self) -> dict[str, float]:
        """Resident MiB."""
        return {"api": resident(self.api), "host": resident(self.host)}


def cpu_seconds(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def wait(ready: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return found


@contextmanager
def studio(folder: Path) -> Iterator[Parts]:
    page = folder / "page"
    (page / "assets").mkdir(parents=True)
    page.joinpath("index.html").write_text(
        '<!doctype html><title>bench</title><body><script type="module" src="/assets/page.js"></script>'
    )
    bundler = ROOT / "frontend" / "node_modules" / ".bin" / "rolldown"
    bundle = [bundler, HERE / "page.ts", "--file", page / "assets" / "page.js", "--format", "esm"]
    subprocess.run(bundle, check=True, stdout=subprocess.DEVNULL)
    port = 20_000 + os.getpid() % 20_000
    settings = Settings(data=folder / "data", page=page, port=port)
    settings.folder.prepare()
    migrate(Database(settings.sql_url))
    environment = os.environ | settings.environment() | {"STUDIO_PAGE": str(page), "STUDIO_PORT": str(port)}
    environment["PYTHONPATH"] = str(ROOT)
    with ExitStack() as running:

        def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, **options)
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        start(broker_command(settings.folder.broker, settings.folder.broker_socket), stdout=subprocess.DEVNULL)
        wait(settings.folder.broker_socket.exists, "the broker")
        api = start([sys.executable, "-c", API], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert api.stdout is not None
        token = api.stdout.readline().decode().rsplit("token=", 1)[1].strip()
        origin = f"http://127.0.0.1:{port}"
        cookie = wait(lambda: set_up(port, origin, token), "the API")
        host = start([sys.executable, str(HERE / "host.py"), ROBOT], stderr=subprocess.DEVNULL)
        parts = Studio.open(settings)
        running.callback(parts.close)
        wait(lambda: holds(parts), "the robot host")
        yield Parts(api=api.pid, host=host.pid, origin=origin, cookie=cookie)


def set_up(port: int, origin: str, token: str) -> str | None:
    """The cookie of an administrator, None while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"token": token, "name": "bench", "password": "correct horse battery"})
    try:
        connection.request("POST", "/api/auth/setup", body, {"Origin": origin, "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except OSError:
        return None
    finally:
        connection.close()
    return (answer.getheader("Set-Cookie") or "").partition(";")[0]


def holds(studio: Studio) -> bool:
    with studio.db.transaction(write=False) as db:
        row = by_name(db, ROBOT)
        return row is not None and row.status.get("state") == "holding"


@contextmanager
def viewers(parts: Parts, count: int, *, silent: bool) -> Iterator[dict[str, Any]]:
    """`count` more viewers; afterwards, what they were sent."""
    url = f"{parts.origin.replace('http', 'ws')}/api/live/{ROBOT}/video"
    command = [sys.executable, str(HERE / "viewers.py"), str(count), url, ",".join(CAMERAS)]
    environment = os.environ | {"COOKIE": parts.cookie, "ORIGIN": parts.origin, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*command, *(["--silent"] if silent else [])], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    found: dict[str, Any] = {}
    try:
        if process.stdout.readline() != b"connected\n":
            raise SystemExit("the other viewers could not connect")
        yield found
        process.send_signal(signal.SIGTERM)
        found |= json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


# --- measuring ----------------------------------------------------------------------------------------------------


def spread(values: np.ndarray) -> dict[str, float]:
    p50, p99, most = np.percentile(values, [50, 99, 100])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(most), 1), "n": len(values)}


def measure(page: Page, parts: Parts, seconds: float) -> dict[str, Any]:
    """What the page draws from now on."""
    page.evaluate("bench.take()")
    before, started = parts.cpu(), time.monotonic()
    rows: list[list[Any]] = []
    torn = 0
    while time.monotonic() - started < seconds:
        page.wait_for_timeout(1000 * min(5.0, max(0.1, seconds - (time.monotonic() - started))))
        taken = page.evaluate("bench.take()")
        rows += taken["rows"]
        torn += taken["torn"]
    took, after = time.monotonic() - started, parts.cpu()
    if not rows:
        raise SystemExit("the page drew nothing")
    latency = np.array([row[2] for row in rows])
    minutes = np.array([row[3] for row in rows]) / 60_000
    fps, lost = {}, 0
    for camera in CAMERAS:
        numbers = [row[1] for row in rows if row[0] == camera]
        fps[camera] = round(len(numbers) / took, 2)
        lost += int(np.sum(np.diff(numbers) - 1)) if len(numbers) > 1 else 0
    return {
        "seconds": round(took, 1),
        "stamp_to_draw_ms": spread(latency),
        "shown_age_ms": spread(np.array([row[4] for row in rows])),
        "fps": fps,
        "not_drawn": lost,
        "unreadable": torn,
        "growth_ms_per_min": round(float(np.polyfit(minutes, latency, 1)[0]), 2),
        "cpu_percent": {part: round(100 * (after[part] - before[part]) / took, 1) for part in after},
        "load": os.getloadavg()[0],
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as parts, sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        name, _, value = parts.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": parts.origin}])
        page = context.new_page()
        page.goto(parts.origin)
        page.wait_for_function("window.bench !== undefined")
        page.evaluate("([robot, cameras]) => bench.start(robot, cameras)", [ROBOT, CAMERAS])
        page.wait_for_timeout(3000)
        found: dict[str, Any] = {"alone": measure(page, parts, arguments.seconds)}
        with viewers(parts, 1, silent=True) as silent:
            memory = parts.memory()
            found["beside_a_stalled_viewer"] = measure(page, parts, 60 * arguments.minutes)
            found["memory_mib"] = {"before": memory, "after": parts.memory()}
        found["stalled_viewer_was_sent"] = sum(silent["frames"])
        with viewers(parts, arguments.viewers, silent=False) as others:
            page.wait_for_timeout(1000)
            found["beside_viewers"] = measure(page, parts, arguments.seconds)
        rates = [count / others["seconds"] / len(CAMERAS) for count in others["frames"]]
        found["viewers"] = {"count": arguments.viewers, "fps_per_camera": [round(rate, 1) for rate in rates]}
        more = {part: found["beside_viewers"]["cpu_percent"][part] - cpu for part, cpu in costs(found["alone"]).items()}
        found["cpu_percent_per_viewer"] = {part: round(cpu / arguments.viewers, 2) for part, cpu in more.items()}
        found["machine"] = {"cpu": platform.machine(), "cores": os.cpu_count(), "chromium": browser.version}
        browser.close()
    return found


def costs(measured: dict[str, Any]) -> dict[str, float]:
    cpu: dict[str, float] = measured["cpu_percent"]
    return cpu


def table(found: dict[str, Any]) -> str:
    lines = [f"{'':26}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'fps':>7}{'API %':>7}{'host %':>8}"]
    for part in ("alone", "beside_a_stalled_viewer", "beside_viewers"):
        one = found[part]
        latency, cpu = one["stamp_to_draw_ms"], one["cpu_percent"]
        lines.append(
            f"{part.replace('_', ' '):26}{latency['p50']:8.1f}{latency['p99']:8.1f}{latency['max']:8.1f}"
            f"{min(one['fps'].values()):7.1f}{cpu['api']:7.1f}{cpu['host']:8.1f}"
        )
    stalled, memory = found["beside_a_stalled_viewer"], found["memory_mib"]
    lines += [
        f"growth beside a stalled viewer: {stalled['growth_ms_per_min']:+.2f} ms/min over {stalled['seconds']:.0f} s; "
        f"it was sent {found['stalled_viewer_was_sent']} frames",
        "resident MiB: "
        + ", ".join(f"{p} {memory['before'][p]:.1f} -> {memory['after'][p]:.1f}" for p in ("api", "host")),
        f"a viewer more: {found['cpu_percent_per_viewer']} % of a core, at {found['viewers']['fps_per_camera']} fps",
        f"load of the machine: {found['alone']['load']:.1f} .. {found['beside_viewers']['load']:.1f}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--viewers", type=int, default=7)
    options = parser.parse_args()
    result = run(options)
    print(table(result))
    if options.json is not None:
        write_json(options.json, result)
