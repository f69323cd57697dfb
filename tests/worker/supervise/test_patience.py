"""A start takes as long as it takes while something moves, and ends in words when nothing does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import READY
from worker.supervise.patience import Patience, effort

BUSY = "import time\nuntil = time.monotonic() + {seconds}\nwhile time.monotonic() < until: pass\n"

Run = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def run() -> Iterator[Run]:
    """run(program): a Python process that does not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", program]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def lost(patience: Patience, process: subprocess.Popen[bytes], log: Path, seconds: float) -> str | None:
    """What the patience says within `seconds`; None if it holds so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (why := patience.lost([("worker", process.pid, log)])) is not None:
            return why
        time.sleep(0.1)
    return None


def test_what_sleeps_is_lost(run: Run, tmp_path: Path) -> None:
    why = lost(Patience(2.0, 600), run("import time; time.sleep(600)"), tmp_path / "log", 60)
    assert why is not None
    assert why.startswith("worker is not ready after ")
    assert "nothing of it has moved" in why


def test_what_computes_is_waited_for(run: Run, tmp_path: Path) -> None:
    """Also where it is a descendant that does."""
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY.format(seconds=30)!r}])"
    assert lost(Patience(2.0, 600), run(program), tmp_path / "log", 10) is None


def test_what_writes_its_log_is_waited_for(run: Run, tmp_path: Path) -> None:
    program = (
        f"import time\nwhile True:\n with open({str(tmp_path / 'log')!r}, 'a') as log: log.write('.')\n time.sleep(1)"
    )
    assert lost(Patience(3.0, 600), run(program), tmp_path / "log", 10) is None


def test_what_is_busy_for_ever_is_lost_in_the_end(run: Run, tmp_path: Path) -> None:
    why = lost(Patience(2.0, 5.0), run(BUSY.format(seconds=600)), tmp_path / "log", 60)
    assert why is not None
    assert "though not idle" in why


def test_a_process_that_has_ended_has_done_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert effort(process.pid, tmp_path / "none").cpu_seconds == 0


def start_with(worker: list[str], data: Path, still: float) -> subprocess.Popen[str]:
    """`studio up` with another program in the worker's place."""
    program = (
        "import sys\n"
        "from backend.core.settings import Settings\n"
        "from dexvla.errors import UserError\n"
        "from worker.supervise import up\n"
        "whole = up._studio\n"
        f"up._STILL_SECONDS = {still}\n"
        f"up._studio = lambda command: {worker!r} if command == 'worker' else whole(command)\n"
        "try:\n up.up(Settings())\n"
        "except UserError as error:\n sys.exit(str(error))\n"
    )
    environment = {**os.environ, "STUDIO_DATA": str(data), "STUDIO_PORT": "0"}
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_a_part_that_hangs_ends_the_start_in_words(tmp_path: Path) -> None:
    with start_with([sys.executable, "-c", "import time; time.sleep(900)"], tmp_path / "data", 5.0) as studio:
        out, err = studio.communicate(timeout=300)
    assert studio.returncode == 1
    assert "the studio does not start: worker is not ready after" in err
    assert str(tmp_path / "data" / "logs") in err
    assert READY not in out


def test_a_part_that_takes_longer_than_the_patience_is_waited_for(tmp_path: Path) -> None:
    """It computes for 15 s, where 5 s of stillness would end it, and what is waited for is said meanwhile."""
    slow = (
        BUSY.format(seconds=15)
        + "import os, sys\nos.execv(sys.executable, [sys.executable, '-m', 'worker.cli', 'worker'])"
    )
    with start_with([sys.executable, "-c", slow], tmp_path / "data", 5.0) as studio:
        assert studio.stdout is not None
        said = []
        for line in studio.stdout:
            said.append(line)
            if line.startswith(READY):
                break
        studio.terminate()
        _, err = studio.communicate(timeout=60)
    assert said[-1].startswith(READY), err
    assert any(line.startswith("Still starting after ") and "worker" in line for line in said), said
    assert studio.returncode == 0
