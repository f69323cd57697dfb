"""What people are told of a command that failed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dexvla.progress import Cause, FailureLine
from worker.jobs.causes import explain
from worker.jobs.orphans import end_orphan, remember, try_lock


@pytest.mark.parametrize(
    ("failed", "message", "told", "final"),
    [
        (Cause.REFUSED, "data/x: no such folder", "data/x: no such folder", True),
        (Cause.DISK_FULL, "cannot write a.hdf5", "the disk is full; free some space and resume the job (cannot", True),
        (Cause.MEMORY, "OutOfMemoryError: Tried to allocate 2 GiB", "smaller batch size", False),
        (Cause.DEFECT, "KeyError: 'x'", "status 1: KeyError: 'x'", False),
    ],
)
def test_the_cause_of_a_failure_that_a_command_told(
    tmp_path: Path, failed: Cause, message: str, told: str, final: bool
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("dexvla: No space left on device, out of memory\n")  # for people alone
    failure = explain(1, FailureLine(failed=failed, message=message), log, start=0)
    assert told in failure.cause
    assert failure.final is final


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (-signal.SIGKILL, "step 3\n", "ran out of memory"),
        (-signal.SIGSEGV, "step 3\n", "SIGSEGV): step 3"),
        (1, "usage: launch CONFIG\n", "status 1: usage: launch CONFIG"),
        (1, "dexvla: No space left on device\n", "status 1: dexvla: No space left on device"),
        (3, "", "it said nothing"),
    ],
)
def test_the_cause_of_a_failure_of_which_nothing_was_told(tmp_path: Path, status: int, said: str, told: str) -> None:
    log = tmp_path / "log.txt"
    before = "--- attempt 1\nsomething else, long ago\n"
    log.write_text(before + said)
    failure = explain(status, None, log, start=len(before))
    assert told in failure.cause
    assert not failure.final


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
print(2, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", runner], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert {process.stdout.readline(), process.stdout.readline()} == {b"1\n", b"2\n"}  # child and runner are ready
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
