"""What is said of a file that broke the reader."""

import errno
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.core.errors import DiskFullError
from backend.intake.accept import words
from backend.intake.broken import Broken, Why, by_error, by_status
from backend.intake.examine import examine
from dexvla.errors import EpisodeError


def _hdf5(number: int) -> RuntimeError:
    return RuntimeError(f"Can't write data (file write failed: time = x, errno = {number}, error message = 'x')")


def _wrapped(error: Exception) -> Exception:
    outer = EpisodeError("the copy cannot be written")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "why", "told"),
    [
        (AttributeError("no attribute 'encode'"), Why.MISLEADING, "what their names say, AttributeError); it is"),
        (OSError("Can't read data (wrong checksum)"), Why.DAMAGED, "(OSError: Can't read data (wrong checksum))"),
        (MemoryError(), Why.MEMORY, "asks for more memory"),
        (OSError("Can't read data (memory allocation failed for chunk)"), Why.MEMORY, "asks for more memory"),
        (OSError(errno.ENOMEM, "x"), Why.MEMORY, "asks for more memory"),
        (_hdf5(errno.EFBIG), Why.TOO_LARGE, "more than twice as large"),
        (_wrapped(OSError(errno.EFBIG, "x")), Why.TOO_LARGE, "more than twice as large"),
        # the words of a file's own names say nothing about the machine
        (KeyError("No space left on device"), Why.MISLEADING, "what their names say, KeyError)"),
        (ValueError("MemoryError"), Why.MISLEADING, "what their names say, ValueError)"),
    ],
)
def test_what_ends_the_inspection_is_told_by_its_kind(error: Exception, why: Why, told: str) -> None:
    found = Broken.from_json(json.loads(json.dumps(by_error(error).to_json())))
    assert found.why is why
    said = words(found, 600)
    assert told in said
    assert "'encode'" not in said


@pytest.mark.parametrize(
    ("status", "told"),
    [(-signal.SIGSEGV, "exit status -11"), (-signal.SIGXCPU, "s of computing"), (-signal.SIGKILL, "s of computing")],
)
def test_a_process_that_could_not_say_it_is_known_by_its_end(status: int, told: str) -> None:
    assert told in words(by_status(status), 600)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), _hdf5(errno.ENOSPC)])
def test_a_full_disk_is_not_the_fault_of_the_file(error: Exception) -> None:
    with pytest.raises(DiskFullError):
        words(by_error(error), 600)


def test_direction_marks_in_a_files_texts_are_left_out_and_told(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    file = make_episode(tmp_path / "a.hdf5", labels=("Reach \u202efor it", "Lift it"), instruction="Do \u200fit.")
    found = examine(file, tmp_path / "copy.hdf5", keep_labels=True)
    assert found.errors == []
    assert [text for _, _, text in found.segments] == ["Reach for it", "Lift it"]
    assert found.facts["instruction"] == "Do it."
    assert any("hold direction marks" in warning for warning in found.warnings), found.warnings
