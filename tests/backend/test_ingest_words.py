"""What is said of a file that broke the reader."""

import pytest

from backend.episodes.ingest import _last_words
from backend.errors import DiskFullError


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
