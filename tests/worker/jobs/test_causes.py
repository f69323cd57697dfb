"""What people are told of a command that failed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.jobs.causes import explain
from worker.jobs.orphans import end_orphan, remember, try_lock


@pytest.mark.parametrize(
    ("status", "said", "told", "final"),
    [
        (1, "reading\ndexvla: data/x: no such folder\n", "data/x: no such folder", True),
        (1, "Traceback\nOSError: [Errno 28] No space left on device\n", "the disk is full", True),
        (1, "dexvla: cannot write a.hdf5: No space left on device\n", "the disk is full", True),
        (1, "Traceback ...\ntorch.OutOfMemoryError: CUDA out of memory. Tried ...\n", "smaller batch size", False),
        (-signal.SIGKILL, "step 3\n", "ran out of memory", False),
        (-signal.SIGSEGV, "step 3\n", "SIGSEGV", False),
        (1, "Traceback ...\nKeyError: 'x'\n", "status 1: KeyError: 'x'", False),
        (3, "", "it said nothing", False),
    ],
)
def test_the_cause_of_a_failure(tmp_path: Path, status: int, said: str, told: str, final: bool) -> None:
    log = tmp_path / "log.txt"
    before = "--- attempt 1\ndexvla: something else, long ago\n"
    log.write_text(before + said)
    failure = explain(status, log, start=len(before))
    assert told in failure.cause
    assert failure.final is final


def test_the_process_of_a_dead_runner_is_given_time_and_then_ended(tmp_path: Path) -> None:
    """It holds the job's lock by inheritance, so a new attempt cannot begin beside it."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    runner = f"""
import subprocess, sys
from pathlib import Path
from worker.jobs.orphans import remember, try_lock
lock = try_lock(Path({str(tmp_path)!r}))
child = subprocess.Popen([sys.executable, "-c", {child!r}], pass_fds=(lock,), start_new_session=True)
remember(Path({str(tmp_path)!r}), child.pid)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", runner], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert try_lock(tmp_path) is None
        end_orphan(tmp_path, grace=0.2)
        assert try_lock(tmp_path) is None, "its runner lives: hands off"
        process.kill()
        process.wait()
        assert try_lock(tmp_path) is None, "it lives on"
        asked = time.monotonic()
        end_orphan(tmp_path, grace=0.5)
        assert time.monotonic() - asked > 0.4
        deadline = time.monotonic() + 60
        while (lock := try_lock(tmp_path)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert lock is not None


def test_only_a_process_that_was_written_down_is_ended(tmp_path: Path) -> None:
    end_orphan(tmp_path, grace=0)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"], start_new_session=True) as process:
        remember(tmp_path, process.pid)
        end_orphan(tmp_path, grace=0)  # the runner is this very process
        assert process.poll() is None
        process.kill()
