"""The stop's record: what a host finds that starts again, after every end that one can have."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.small_disk import small_disk
from worker.robot import latch as module
from worker.robot.latch import StopLatch

pytestmark = pytest.mark.clockless


def test_a_stop_is_found_again_with_its_name_and_an_arming_too(tmp_path: Path) -> None:
    file = tmp_path / "robot.latch"
    latch = StopLatch(file)
    assert not latch.now.stopped, "nothing ran here before"
    first = latch.stop(by="ada", reason="smoke")
    again = latch.stop(by="grace")
    assert (again.stopped_by, again.epoch) == ("ada", first.epoch), "the first stop keeps its name"
    latch.remember()
    found = StopLatch(file, ran_before=True).now
    assert (found.stopped_by, found.reason, found.since) == ("ada", "smoke", first.since)
    latch.arm()
    latch.remember()
    assert latch.at_risk is None
    assert not StopLatch(file, ran_before=True).now.stopped


@pytest.mark.parametrize("hours", [1, -1])
def test_the_newest_record_counts_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    file = tmp_path / "robot.latch"
    latch = StopLatch(file)
    latch.stop(by="ada")
    latch.remember()

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr(module, "datetime", Moved)
    assert StopLatch(file, ran_before=True).now.stopped_by == "ada"
    latch.arm()
    latch.remember()
    assert not StopLatch(file, ran_before=True).now.stopped
    latch.stop(by="grace")
    latch.remember()
    monkeypatch.setattr(module, "datetime", datetime)
    assert StopLatch(file, ran_before=True).now.stopped_by == "grace"


def test_a_record_that_is_missing_or_torn_counts_as_a_stop(tmp_path: Path) -> None:
    file = tmp_path / "robot.latch"
    latch = StopLatch(file, ran_before=True)
    assert latch.now.stopped
    assert "not there" in (latch.now.reason or "")
    latch.arm()
    latch.remember()
    content = file.read_bytes()
    half = len(content) // 2
    for damaged in (b"{", b"", bytes(len(content)), content[:10], content.replace(b'"by"', b'"bx"')):
        file.write_bytes(damaged)
        found = StopLatch(file, ran_before=True)
        assert found.now.stopped, damaged[:20]
        assert "cannot be read" in (found.now.reason or "")
        os.truncate(file, 0)
    torn = {b"x" * half + content[half:]: True, content[:half] + b"x" * half: False}
    for half_torn, stopped in torn.items():  # the one that is whole counts: that of the stop, then that of the arming
        file.write_bytes(half_torn)
        found = StopLatch(file, ran_before=True)
        assert found.now.stopped is stopped
        found.close()


def test_a_torn_newest_record_leaves_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "robot.latch"
    latch = StopLatch(file)
    latch.stop(by="ada")
    latch.remember()
    latch.arm()
    latch.remember()
    records = [module._record(file.read_bytes()[start : start + 4096]) for start in (0, 4096)]
    newest = max((0, 1), key=lambda index: (records[index] or {"number": 0})["number"])
    with file.open("r+b") as opened:
        opened.seek(4096 * newest + 30)
        opened.write(b"torn")
    assert StopLatch(file, ran_before=True).now.stopped_by == "ada"


def test_a_machine_that_went_down_without_a_word_leaves_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, boot = tmp_path / "robot.latch", tmp_path / "boot"
    monkeypatch.setattr(module, "_BOOT", boot)
    boot.write_text("first\n")
    in_order = StopLatch(file)
    in_order.close()
    boot.write_text("second\n")
    assert not StopLatch(file, ran_before=True).now.stopped, "it had ended in order"
    boot.write_text("third\n")
    found = StopLatch(file, ran_before=True).now
    assert found.stopped
    assert "went down" in (found.reason or "")


PROCESS = """
import sys
from pathlib import Path
from worker.robot.latch import StopLatch
latch = StopLatch(Path(sys.argv[1]), ran_before=True)
latch.arm()
latch.remember()
print("armed", flush=True)
sys.stdin.readline()
latch.stop(by="ada", reason="smoke")
latch.remember()
print(latch.at_risk or "written", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, kib=256):
        yield folder


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "large").open("wb", buffering=0) as large:
        while True:
            large.write(bytes(4096))


def test_a_stop_on_a_full_disk_outlives_a_kill(disk: Path) -> None:
    """Also right after the stop was said: nothing is flushed, nothing is closed."""
    file = disk / "robot.latch"
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "armed\n"
    _fill(disk)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = StopLatch(file, ran_before=True).now
    assert (found.stopped_by, found.reason) == ("ada", "smoke")


def test_without_room_for_the_record_it_starts_stopped_and_says_why(disk: Path) -> None:
    _fill(disk)
    latch = StopLatch(disk / "robot.latch")
    assert latch.now.stopped
    assert "free some space" in (latch.now.reason or "")
    assert "no room" in (latch.at_risk or "")
    latch.arm()
    latch.remember()
    assert "starts stopped" in (latch.at_risk or "")
    assert StopLatch(disk / "robot.latch", ran_before=True).now.stopped
    (disk / "large").unlink()
    latch.stop(by="ada")
    latch.remember()
    assert latch.at_risk is None
    assert StopLatch(disk / "robot.latch", ran_before=True).now.stopped_by == "ada"
