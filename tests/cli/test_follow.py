"""DEXVLA_PROGRESS: another program follows a command."""

import errno
import json
import sys
from pathlib import Path

import pytest

from dexvla import cli, console, progress
from dexvla.errors import UserError
from dexvla.progress import Cause, FailureLine, ProgressLine, first_failure, last_progress
from dexvla.train.loop import Progress


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_bar_is_followed_from_its_start_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    with console.bar("recording", total=2) as bar:
        bar.advance("episode_0.hdf5")
        bar.advance("seed 1 failed, dropped")
    assert lines(file) == [
        {"what": "recording", "done": 0, "total": 2, "note": ""},
        {"what": "recording", "done": 1, "total": 2, "note": "episode_0.hdf5"},
        {"what": "recording", "done": 2, "total": 2, "note": "seed 1 failed, dropped"},
    ]


def test_a_training_is_followed_but_not_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    with console.train_display(500) as show:
        show(Progress(what="loading the model", step=0, steps=500))
        for step in range(1, 501):
            show(Progress(what="training", step=step, steps=500, metrics={"loss": 1.0}))
    found = lines(file)
    assert found[0] == {"what": "loading the model", "done": 0, "total": 500, "note": ""}
    assert found[-1] == {"what": "training", "done": 500, "total": 500, "note": "loss 1.0000"}
    assert len(found) < 100


def test_only_the_first_process_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    monkeypatch.setenv("RANK", "1")
    with console.bar("evaluating", total=1) as bar:
        bar.advance()
    assert not file.exists()


def test_a_progress_file_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEXVLA_PROGRESS", str(tmp_path / "missing" / "progress.jsonl"))
    with console.bar("checking", total=1) as bar:
        bar.advance()


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "failed", "message"),
    [
        (UserError("data/x:\nno such folder"), Cause.REFUSED, "data/x: no such folder"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), Cause.REFUSED, "x: No such file"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), Cause.DISK_FULL, "x: Disk quota exceeded"),
        (caused(UserError("cannot write x"), OSError(errno.ENOSPC, "full")), Cause.DISK_FULL, "cannot write x"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), Cause.DISK_FULL, "I/O error"),
        (MemoryError("2 GiB"), Cause.MEMORY, "MemoryError: 2 GiB"),
        (caused(RuntimeError("step 3 failed"), MemoryError()), Cause.MEMORY, "step 3 failed"),
        (RuntimeError("CUDA error: out of memory"), Cause.MEMORY, "CUDA error"),
        (KeyError("x"), Cause.DEFECT, "KeyError: 'x'"),
    ],
)
def test_a_command_tells_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, failed: Cause, message: str
) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    before = ProgressLine(what="training", done=1, total=2)
    progress.tell(before)

    def fail(**given: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises((SystemExit, type(error))):
        cli.main()
    told = first_failure(file)
    assert told is not None
    assert told.failed is failed
    assert message in told.message
    assert last_progress(file) == before, "it got so far"


def test_a_command_that_somebody_stops_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))

    def stop(**given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stop)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert first_failure(file) is None


def test_flags_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    monkeypatch.setattr(sys, "argv", ["dexvla", "check", "--no-such-flag"])
    with pytest.raises(SystemExit):
        cli.main()
    told = first_failure(file)
    assert told is not None
    assert told.failed is Cause.REFUSED
    assert "--no-such-flag" in told.message


def test_of_several_processes_the_first_that_failed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("DEXVLA_PROGRESS", str(file))
    first = FailureLine(failed=Cause.MEMORY, message="Tried to allocate 2 GiB")
    progress.tell(first)
    progress.tell(FailureLine(failed=Cause.DEFECT, message="Connection closed by peer"))
    assert first_failure(file) == first


def test_an_odd_failure_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with bytes that are no text; errors that came from each other."""
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.jsonl"))
    first, second = RuntimeError("out of memory"), ValueError("caused by the other")
    first.__cause__, second.__cause__ = second, first
    progress.tell_failure(UserError("x"), "data/\udcff: no such folder")
    found = first_failure(tmp_path / "progress.jsonl")
    assert found == FailureLine(failed=Cause.REFUSED, message="data/?: no such folder")
    (tmp_path / "progress.jsonl").unlink()
    progress.tell_failure(second)
    found = first_failure(tmp_path / "progress.jsonl")
    assert found is not None
    assert found.failed is Cause.MEMORY
