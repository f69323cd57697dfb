"""`studio up` as a person runs it: starts, tells where it is, stops everything, and says why it cannot start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.processes import READY, of_studio
from tests.support.small_disk import small_disk


class Studio:
    """A running `studio up` and what it said."""

    def __init__(self, data: Path, port: int = 0) -> None:
        self.data = data
        environment = {**os.environ, "STUDIO_DATA": str(data), "STUDIO_PORT": str(port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "up"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """The address that it prints when it is ready."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        assert self.process.stderr is not None
        pytest.fail(f"not ready: {self.process.stderr.read()}")

    def family(self) -> set[int]:
        """Processes of this studio, itself included."""
        return of_studio(self.data)

    def gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.family():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def end(self) -> None:
        for process in self.family():
            if process != os.getpid():
                os.kill(process, signal.SIGKILL)
        self.process.wait(10)


Start = Callable[..., Studio]


@pytest.fixture
def start() -> Iterator[Start]:
    """start(data, port=0): a studio that does not outlive the test."""
    started: list[Studio] = []

    def run(data: Path, port: int = 0) -> Studio:
        started.append(Studio(data, port))
        return started[-1]

    yield run
    for studio in started:
        studio.end()


def health(address: str) -> dict[str, object]:
    base = address.split("/setup")[0].rstrip("/")
    with urllib.request.urlopen(f"{base}/api/health", timeout=5) as answer:
        value: dict[str, object] = json.load(answer)
    return value


def test_it_starts_stops_and_finds_its_data_again(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    address = first.ready()
    assert "/setup?token=" in address
    told = health(address)
    assert (told["status"], told["workers"] >= 1, told["robots"]) == ("ok", True, 1)

    titles = [" ".join(psutil.Process(pid).cmdline()) for pid in first.family()]
    for part in ("api", "application", "worker", "robot"):  # by the names that forks have
        assert any(title.startswith(f"python -m worker.cli {part}") for title in titles), (part, titles)

    other = start(tmp_path / "data")
    _out, err = other.process.communicate(timeout=120)
    assert other.process.returncode == 1
    assert err.count("\n") == 1
    assert "another studio is running on this data folder" in err

    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(30) == 0
    assert first.gone_within(10)
    again = start(tmp_path / "data")
    assert again.ready().partition("token=")[2] == address.partition("token=")[2]  # nobody has used it yet
    again.process.terminate()
    assert again.process.wait(30) == 0
    assert again.gone_within(10)


def test_killed_without_a_word_it_takes_every_process_along(start: Start, tmp_path: Path) -> None:
    studio = start(tmp_path / "data")
    studio.ready()
    assert len(studio.family()) >= 5  # itself, broker, API, worker, robot host
    studio.process.kill()
    assert studio.gone_within(60)


def test_a_part_that_dies_is_started_again(start: Start, tmp_path: Path) -> None:
    studio = start(tmp_path / "data")
    address = studio.ready()
    api = next(pid for pid in studio.family() if "worker.cli api" in " ".join(psutil.Process(pid).cmdline()))
    os.kill(api, signal.SIGKILL)
    assert studio.process.stdout is not None
    told = studio.process.stdout.readline()
    assert told.startswith("api was killed (SIGKILL")
    assert "starting it again" in told
    assert "INFO" not in told  # nothing that it said at some time, which is not why
    deadline = time.monotonic() + 120
    while True:
        try:
            assert health(address)["database"] == "ok"
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert not psutil.pid_exists(api)


def test_a_port_in_use_is_one_line(start: Start, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        studio = start(tmp_path / "data", port)
        _, err = studio.process.communicate(timeout=120)
    assert studio.process.returncode == 1
    assert err == f"studio: port {port} on 127.0.0.1 is in use; choose another with STUDIO_PORT\n"


def test_a_data_folder_that_cannot_be_written_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    studio = start(tmp_path / "file" / "data")
    _, err = studio.process.communicate(timeout=120)
    assert studio.process.returncode == 1
    assert err.count("\n") == 1
    assert "cannot be written" in err
    assert "STUDIO_DATA" in err


def test_a_full_disk_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with small_disk(tmp_path / "data", kib=256):
        with suppress(OSError), (tmp_path / "data" / "large").open("wb") as large:
            while True:
                large.write(bytes(4096))
                large.flush()
        studio = start(tmp_path / "data")
        _, err = studio.process.communicate(timeout=120)
    assert studio.process.returncode == 1
    assert err.startswith("studio: the disk of the data folder is full; free some space")
    assert err.count("\n") == 1


def test_a_database_that_is_none_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "studio.db").write_text(
        "this is a text, and long enough to be looked at as a header of a file"
    )
    studio = start(tmp_path / "data")
    _, err = studio.process.communicate(timeout=120)
    assert studio.process.returncode == 1
    assert err.startswith(f"studio: the database ({tmp_path}/data/studio.db) is damaged: file is not a database. Put ")
    assert "`studio restore DIR`" in err
    assert err.count("\n") == 1
    assert studio.gone_within(10)
