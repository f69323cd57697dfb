"""The robot host's part of the live page's goals: echo, stop, watchdog, cadence, recording.

    python benchmarks/live.py [--json FILE] [--trials N] [--seconds S] [--kills N]

A real host of the simulated ALOHA with a broker and a database of its own; this script is page and API at once, over
loopback; its monotonic clock is that of the host. Meanwhile somebody looks through all three
cameras. What the browser and the relays add is measured elsewhere.
"""

import argparse
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from backend.core.db import new_id
from backend.core.settings import Settings
from backend.migrations.migrate import migrate
from backend.robots.repository import by_name
from backend.robots.token import host_token
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from dexvla.episodes.format import EpisodeAttributes, StepSource
from dexvla.files import write_json
from dexvla.live.messages import HOLD_MS
from dexvla.recording.finish import finish
from dexvla.recording.journal import RecordingHead, read_journal
from dexvla.recording.recorder import EpisodeRecorder, RecordedStep
from dexvla.spec import ALOHA_CAMERAS
from worker.supervise.broker import broker_command

NAME = "aloha-sim"
EVERY = 0.04  # seconds between messages of a page that drives
HOST = (
    "from backend.core.settings import Settings; from worker.supervise.robot_host import run; "
    f"run(Settings(), name={NAME!r})"
)

Spread = dict[str, float]


def spread(values: list[float]) -> Spread:
    if not values:
        raise SystemExit("nothing was measured: the robot did not move; the machine is too busy")
    p50, p99, most = np.percentile(values, [50, 99, 100])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(most), 2), "n": len(values)}


class Host:
    """The other side. time: of the host's and our monotonic clock, seconds."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._headers = {
            "Authorization": f"Bearer {host_token(studio.settings.folder.secrets, NAME)}",
            "X-Studio-By": "bench",
        }
        self.address = self._wait(self._announced)
        self.rows: dict[int, tuple[float, list[float]]] = {}  # step -> time, action sent
        self.state: dict[str, Any] = {}
        self.stopped_at = 0.0  # when it last said that it is stopped now
        self._ended = threading.Event()
        self._wait(self._ready)
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._look)]
        for thread in self._threads:
            thread.start()
        self._wait(lambda: self.state.get("status", {}).get("tick_hz", 0) > 40 or None)

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _announced(self) -> str | None:
        with self._studio.db.transaction(write=False) as db:
            row = by_name(db, NAME)
            return None if row is None else row.address

    def _ready(self) -> bool | None:
        with suppress(OSError):
            return json.loads(self.request("GET", "/state"))["state"] == "holding" or None
        return None

    def _wait(self, ask: Callable[[], Any], seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while (found := ask()) is None:
            if time.monotonic() > end:
                raise SystemExit("the robot host did not get there; see its output above")
            time.sleep(0.01)
        return found

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        self._wait(lambda: condition(self.state) or None)

    def request(self, method: str, path: str, body: object = None) -> bytes:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {content.decode(errors='replace')}")
            return content
        finally:
            connection.close()

    def socket(self, path: str) -> ClientConnection:
        headers = self._headers | {"X-Studio-Session": "bench"}
        return connect(f"ws://{self.address}{path}", additional_headers=headers, compression=None)

    def _listen(self) -> None:
        with self.socket("/live/state") as socket:
            while not self._ended.is_set():
                state = json.loads(socket.recv(timeout=10))
                if state["status"]["state"] == "stopped" and self.state.get("status", {}).get("state") != "stopped":
                    self.stopped_at = time.monotonic()
                self.state = state
                samples = self.state["samples"] or {"step": [], "time": [], "action": []}
                for step, at, action in zip(samples["step"], samples["time"], samples["action"], strict=True):
                    self.rows[step] = (at, action)

    def _look(self) -> None:
        """Somebody looks at all cameras, at 15 Hz."""
        for camera in itertools.cycle(ALOHA_CAMERAS):
            if self._ended.wait(1 / 45):
                return
            with suppress(OSError, SystemExit):  # a frame more or less
                self.request("GET", f"/picture/{camera}")

    def moved_on(self, since: float) -> list[float]:
        """Milliseconds from `since` to the last command that differed from the one before; empty if the robot did not
        move in the tenth of a second before, so that there was nothing to end."""
        rows = [self.rows[step] for step in sorted(self.rows)]
        moved = [after[0] for before, after in itertools.pairwise(rows[-200:]) if before[1] != after[1]]
        if not any(since - 0.1 < at <= since for at in moved):
            return []
        return [(max([since, *moved]) - since) * 1000]


class Page:
    """Drives the left arm up and down while `held`."""

    def __init__(self, host: Host, *, reads: bool = True) -> None:
        """reads: echoes are read and forgotten; else `echo` does."""
        self.host, self._open = host, ExitStack()
        self._socket = self._open.enter_context(host.socket("/live/control"))
        self._epoch = host.state["status"]["epoch"]
        self._seq = itertools.count(1)
        self._up = 0.15
        if reads:
            threading.Thread(target=self._forget, daemon=True).start()

    def send(self, *, kind: str = "drive", deadman: bool = True) -> float:
        """When it was sent."""
        now = time.monotonic()
        message: dict[str, Any] = {"type": kind, "seq": next(self._seq), "sent": now * 1000, "epoch": self._epoch}
        if kind == "drive":
            message |= {"deadman": deadman, "evidence_ms": 0, "left": {"linear": [0, 0, self._up]}}
        self._socket.send(json.dumps(message))
        return now

    def echo(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._socket.recv(timeout=5))
        return answer

    def hold(self, seconds: float) -> float:
        """Drive for so long; when the last message was sent. Every second time up, every other down."""
        self._up = -self._up
        end = time.monotonic() + seconds
        while True:
            last = self.send()
            if last > end:
                return last
            time.sleep(EVERY)

    def close(self) -> None:
        self._open.close()

    def _forget(self) -> None:
        with suppress(ConnectionClosed, OSError):
            while True:
                self._socket.recv()


def echoes(host: Host, trials: int) -> dict[str, Spread]:
    page = Page(host, reads=False)
    trip, applied = [], []
    for _ in range(trials):
        sent = page.send(kind="pulse")
        page.echo()
        trip.append((time.monotonic() - sent) * 1000)
        time.sleep(EVERY / 2)
    for _ in range(trials):
        page.send()
        answer = page.echo()
        if answer.get("applied") is not None:
            applied.append(answer["applied"])
        time.sleep(EVERY / 2 * random.random())
    page.send(deadman=False)
    page.close()
    return {"echo_ms": spread(trip), "applied_ms": spread(applied)}


def stops(host: Host, trials: int) -> dict[str, Spread]:
    latched, answered, resting = [], [], []
    for _ in range(trials):
        page = Page(host)
        page.send(deadman=False)
        page.hold(0.3)
        pressed = time.monotonic()
        host.request("POST", "/stop", {"by": "bench"})
        answered.append((time.monotonic() - pressed) * 1000)
        time.sleep(0.4)
        latched.append((host.stopped_at - pressed) * 1000)
        resting += host.moved_on(pressed)
        page.close()
        host.request("POST", "/arm", {"by": "bench"})
        host.until(lambda state: state["status"]["state"] == "holding" and state["holder"] is None)
    return {
        "stop_latched_ms": spread(latched),
        "stop_answered_ms": spread(answered),
        "stop_at_rest_ms": spread(resting),
    }


def silences(host: Host, trials: int) -> dict[str, Spread]:
    """The page falls silent; then: its socket closes."""
    silent, closed = [], []
    page = Page(host)
    for _ in range(trials):
        page.send(deadman=False)  # on a busy machine the silence may have become a long one
        last = page.hold(0.25)
        time.sleep(0.4)
        silent += host.moved_on(last)
    page.close()
    for _ in range(trials):
        host.until(lambda state: state["holder"] is None)
        page = Page(host)
        page.send(deadman=False)
        page.hold(0.25)
        gone = time.monotonic()
        page.close()
        time.sleep(0.3)
        closed += host.moved_on(gone)
    return {"silent_at_rest_ms": spread(silent), "closed_at_rest_ms": spread(closed)}


def recording(host: Host, studio: Studio, seconds: float) -> dict[str, Any]:
    """Record with somebody driving and looking; then save."""
    dataset_id = new_id()
    with studio.db.transaction() as db:
        db.add(Dataset(id=dataset_id, name="bench", cameras=[], vocabulary=[]))
    host.request("POST", "/live/record", {"dataset_id": dataset_id, "instruction": "Measure."})
    page = Page(host)
    page.send(deadman=False)
    first = max(host.rows)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.hold(0.5)
    rows = [host.rows[step] for step in sorted(host.rows) if step > first]
    jitter = [abs(after[0] - before[0] - 0.02) * 1000 for before, after in itertools.pairwise(rows)]
    shown = host.state["recording"]
    folder = studio.settings.folder.robots / f"{NAME}.recordings"
    pressed = time.monotonic()
    host.request("POST", "/live/save", {"success": True})
    host._wait(lambda: next(folder.glob("*.hdf5"), None))
    made = time.monotonic() - pressed
    size = next(iter(folder.glob("*.hdf5")), None)
    megabytes = 0.0 if size is None else size.stat().st_size / 1e6
    host.until(lambda state: state["saved"] is not None)
    listed = time.monotonic() - pressed
    page.close()
    return {
        "jitter_ms": spread(jitter),
        "recorded_seconds": shown["seconds"],
        "dropped": sum(shown["dropped"].values()),
        "file_mb": round(megabytes, 1),
        "file_made_s": round(made, 2),
        "in_dataset_s": round(listed, 2),
        "error": host.state["saved"]["error"],
    }


def kills(folder: Path, count: int) -> dict[str, Any]:
    """Kill a process that records; what it lost is counted from the last step that it said it took."""
    lost, unreadable, ragged = [], 0, 0
    for number in range(count):
        journal, episode = folder / f"{number}.partial", folder / f"{number}.hdf5"
        process = subprocess.Popen(
            [sys.executable, __file__, "--record", str(journal)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        taken = [process.stdout.readline()]
        moment = random.uniform(0.2, 1.5)
        while float(taken[-1]) < moment:
            taken.append(process.stdout.readline())
        process.kill()
        taken += [line for line in process.stdout if line.endswith("\n")]
        process.wait()
        try:
            steps = finish(journal, episode)
            ragged += [step.qpos[0] for step in read_journal(journal).steps] != list(range(steps))
            lost.append((float(taken[-1]) - float(taken[steps - 1])) * 1000)
        except (ValueError, OSError):
            unreadable += 1
        journal.unlink(missing_ok=True)
        episode.unlink(missing_ok=True)
    return {"lost_ms": spread(lost), "unreadable": unreadable, "ragged": ragged}


def record(journal: Path) -> None:
    """The process that is killed: 50 Hz, three cameras of 480x640 at 15 Hz. Says when it took each step."""
    head = RecordingHead(
        instruction="Go.", attributes=EpisodeAttributes(sim=True, fps=50.0), cameras=ALOHA_CAMERAS,
        state_dim=14, action_dim=14,
    )  # fmt: skip
    x = np.linspace(0, 255, 640 * 480 * 3, dtype=np.float32).reshape(480, 640, 3)
    images = [np.roll(x, 31 * shift, axis=1).astype(np.uint8) for shift in range(8)]
    recorder = EpisodeRecorder(journal, head)
    begin = time.monotonic()
    for step in itertools.count():
        time.sleep(max(0.0, begin + 0.02 * step - time.monotonic()))
        joints, shown = np.full(14, step, np.float32), step * 3 // 10
        recorder.add(
            RecordedStep(
                time=0.02 * step, host_time=time.time(), source=StepSource.SCRIPTED, qpos=joints, qvel=joints,
                action=joints, action_sent=joints,
                frames={name: (shown / 15, images[shown % 8]) for name in ALOHA_CAMERAS},
            )
        )  # fmt: skip
        sys.stdout.write(f"{time.monotonic() - begin:.4f}\n")
        sys.stdout.flush()


@contextmanager
def studio_with_host(folder: Path) -> Iterator[tuple[Studio, Host]]:
    settings = Settings(data=folder / "studio", redis_url=f"unix://{folder}/valkey.sock", database_url=None)
    settings.folder.prepare()
    broker = subprocess.Popen(broker_command(folder, folder / "valkey.sock"), stdout=subprocess.DEVNULL)
    studio = Studio.open(settings)
    migrate(studio.db)
    environment = os.environ | {"STUDIO_DATA": str(settings.data), "REDIS_URL": settings.events_url}
    process = subprocess.Popen([sys.executable, "-c", HOST], env=environment)
    host = None
    try:
        host = Host(studio)
        yield studio, host
    finally:
        if host is not None:
            host.close()
        process.terminate()
        process.wait(20)
        studio.close()
        broker.terminate()
        broker.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--trials", type=int, default=100, help="of each kind (default 100)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording (default 60)")
    parser.add_argument("--kills", type=int, default=20, help="of a process that records (default 20)")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.record is not None:
        record(arguments.record)
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(prefix="live-") as temporary:
        folder = Path(temporary)
        with studio_with_host(folder) as (studio, host):
            report |= echoes(host, arguments.trials)
            report |= stops(host, max(2, arguments.trials // 4))
            report |= silences(host, arguments.trials)
            report |= recording(host, studio, arguments.seconds)
        report |= kills(folder, arguments.kills)
    report["load_after"] = round(os.getloadavg()[0], 2)
    table(report)
    if arguments.json is not None:
        write_json(arguments.json, report)


GOALS = {
    "echo_ms": ("command echo, socket to socket", "p50 5, p99 20"),
    "applied_ms": ("command to the control step that used it", ""),
    "stop_latched_ms": ("stop pressed to the state that says so", "p99 30"),
    "stop_answered_ms": ("stop pressed to answered (written to disk)", ""),
    "stop_at_rest_ms": ("stop pressed to the last command that moved", ""),
    "silent_at_rest_ms": ("last message to the last command that moved", f"{HOLD_MS}"),
    "closed_at_rest_ms": ("socket closed to the last command that moved", f"{HOLD_MS}"),
    "jitter_ms": ("50 Hz, recorder and viewer on: off by", "p99 2, max 10"),
    "lost_ms": ("kill -9 while recording: lost", "500"),
}


def table(report: dict[str, Any]) -> None:
    row = "{:<46} {:>8} {:>8} {:>8} {:>6}   {}".format
    print(row("milliseconds", "p50", "p99", "max", "n", "goal"))
    for name, (words, goal) in GOALS.items():
        print(row(words, *report[name].values(), goal))
    print(f"kill -9: {report['unreadable']} unreadable, {report['ragged']} ragged (goal 0)")
    print(
        f"{report['recorded_seconds']:.0f} s recorded, {report['dropped']} frames dropped (goal 0); saved in "
        f"{report['file_made_s']} s ({report['file_mb']} MB, goal 1 s), in the dataset after {report['in_dataset_s']} s"
    )
    print(f"load of the machine: {report['load_before']} before, {report['load_after']} after; {report['cores']} cores")


if __name__ == "__main__":
    main()
