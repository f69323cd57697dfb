"""What is said of a file that broke the reader."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.core.errors import DiskFullError
from backend.intake.accept import _last_words
from backend.intake.examine import examine


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("AttributeError: 'bytes' object has no attribute 'encode'", "what their names say, AttributeError); it is"),
        ("OSError: Can't read data (wrong fletcher checksum)", "(OSError: Can't read data (wrong fletcher checksum))"),
        ("", "exit status -11"),
        ("MemoryError", "asks for more memory"),
    ],
)
def test_our_reader_does_not_speak_of_itself(said: str, told: str) -> None:
    words = _last_words(-11, said)
    assert told in words
    assert "'encode'" not in words


def test_a_full_disk_is_not_the_fault_of_the_file() -> None:
    with pytest.raises(DiskFullError):
        _last_words(1, "OSError: [Errno 28] No space left on device")


def test_direction_marks_in_a_files_texts_are_left_out_and_told(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    file = make_episode(tmp_path / "a.hdf5", labels=("Reach \u202efor it", "Lift it"), instruction="Do \u200fit.")
    found = examine(file, tmp_path / "copy.hdf5", keep_labels=True)
    assert found.errors == []
    assert [text for _, _, text in found.segments] == ["Reach for it", "Lift it"]
    assert found.facts["instruction"] == "Do it."
    assert any("hold direction marks" in warning for warning in found.warnings), found.warnings
