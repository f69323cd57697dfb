"""What a newcomer does first, on whatever machine this runs on: `make up`, and is everything there?

    python3 scripts/first_minute.py [COMMAND ...]      default: make up

Health, the first administrator, the robot that holds, frames of its three cameras, a demonstration of one episode;
then Ctrl-C, after which no process may be left. Prints what it saw and when; exit status 1 says what was wrong.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from studio_client import CAMERAS, READY, Refused, StudioClient, family, until  # noqa: E402

PATIENCE = 3600.0  # for the set-up on a slow line; what is stuck says so itself
JOB_SECONDS = 1800.0  # a job gives way to everything else on a busy machine


class Tale:
    """Lines with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {line}", flush=True)


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and nothing is left then, either
    tale = Tale()
    with tempfile.TemporaryDirectory(prefix="first-minute-") as folder:
        data = Path(folder) / "data"
        environment = {**os.environ, "STUDIO_DATA": str(data), "STUDIO_PORT": "0", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        said: list[str] = []
        ready = threading.Event()
        listener = threading.Thread(target=_listen, args=(process, said, ready, tale), daemon=True)
        listener.start()
        try:
            _visit(process, said, ready, tale)
            _leave(process, listener, said, data, tale)
        except Refused as error:
            tale.say(f"WRONG: {error}")
            for log in sorted((data / "logs").glob("*.log")):
                tail = log.read_text(errors="replace").strip().splitlines()[-5:]
                tale.say(f"{log.name}: " + "\n    ".join(tail))
            return 1
        finally:
            for pid in family(data):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
    tale.say("all of it was there")
    return 0


def _listen(process: subprocess.Popen[str], said: list[str], ready: threading.Event, tale: Tale) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip())
        tale.say("| " + said[-1])
        if line.startswith(READY):
            ready.set()
    ready.set()  # also when it ended without a word


def _visit(process: subprocess.Popen[str], said: list[str], ready: threading.Event, tale: Tale) -> None:
    if not ready.wait(PATIENCE):
        raise Refused(f"not ready after {PATIENCE:.0f} s")
    address = next((line.removeprefix(READY) for line in said if line.startswith(READY)), None)
    if address is None:
        raise Refused(f"it ended with status {process.wait()} and was never ready")
    studio = StudioClient(address)
    tale.say(f"health: {until(studio.healthy, 'health is ok', seconds=30)}")
    studio.set_up()
    status = until(studio.holding, "the robot holds", seconds=60)
    if {camera["name"] for camera in status["cameras"]} != CAMERAS:
        raise Refused(f"the robot's cameras are {status['cameras']}")
    tale.say(f"robot: {status['state']}, {status['tick_hz']} Hz")
    tale.say(f"frames, bytes: {_frames(studio)}")
    asked = {"name": "First", "task": "transfer_cube", "episodes": 1}
    job = studio.request("POST", "/api/datasets/demo", asked)
    until(lambda: studio.job(job["id"]), "a demonstration is recorded", seconds=JOB_SECONDS)
    listed = studio.request("GET", f"/api/datasets/{job['subject_id']}")
    if listed["episodes"] != 1:
        raise Refused(f"the dataset of one demonstration is {listed}")
    tale.say("a demonstration of one episode was recorded")


def _frames(studio: StudioClient) -> str:
    """Watched by the project's own Python, which has a client for sockets."""
    program = (
        "import json, sys; from studio_client import StudioClient; one = StudioClient(sys.argv[1]); "
        "one.cookie = sys.argv[2]; print(json.dumps(one.moving_frames()))"
    )
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-c", program, studio.origin, studio.cookie],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise Refused(f"no moving frames: {done.stderr.strip()[-1500:]}")
    return str(json.loads(done.stdout))


def _leave(process: subprocess.Popen[str], listener: threading.Thread, said: list[str], data: Path, tale: Tale) -> None:
    """Ctrl-C, as a terminal sends it: to everything in the foreground."""
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    listener.join(60)
    if not any(line.startswith("Stopped") for line in said):
        raise Refused(f"Ctrl-C did not stop it in order; exit status {process.returncode}")
    until(lambda: not family(data), "no process is left", seconds=5)
    tale.say(f"Ctrl-C: stopped within {time.monotonic() - pressed:.1f} s, nothing is left")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["make", "up"]))
