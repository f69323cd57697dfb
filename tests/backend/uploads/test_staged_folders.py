"""What an upload puts on the disk: one whole file of two writers, a whole folder after a kill, names that are safe."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.uploads.paths import lay_out, wrong_together, wrong_with_path
from backend.uploads.staged import MovedError, open_staged
from tests.support.paths import ROOT


def test_two_writers_at_once_leave_one_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests that send the same, of which neither knows of the other: one piece stands, the other is told where
    to go on, however the two meet. Here the second begins while the first is between its look and its last byte."""
    path, piece = tmp_path / "file", bytes(range(256))
    begun, told = threading.Event(), dict[str, int | MovedError]()
    real = os.pwrite

    def half(descriptor: int, data: memoryview, offset: int) -> int:
        """As much as a system writes at once; the other request comes in between."""
        written = real(descriptor, data[:100], offset)
        if not begun.is_set():
            begun.set()
            second.start()
            second.join(1)  # it waits for the lock, or else it is done now
        return written

    def write(who: str, what: bytes) -> None:
        with open_staged(path) as file:
            try:
                told[who] = file.append(0, what)
            except MovedError as error:
                told[who] = error

    second = threading.Thread(target=write, args=("second", piece[:50]))
    monkeypatch.setattr(os, "pwrite", half)
    write("first", piece)
    second.join()
    refused = told["second"]
    assert told["first"] == 256
    assert isinstance(refused, MovedError)
    assert refused.there == 256
    assert path.read_bytes() == piece


_KILLED = """
import os, signal, sys
from pathlib import Path
from backend.uploads import paths

def killed(name, left):
    real = getattr(os, name)
    def call(*given, **more):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **more)
    setattr(os, name, call)

killed(sys.argv[1], int(sys.argv[2]))
here = Path(sys.argv[3])
paths.lay_out(here, [(f"set/{number % 2}/{number}.png", here / f"bytes{number}") for number in range(4)])
"""


def test_a_folder_that_a_kill_left_half_is_laid_out_whole(tmp_path: Path) -> None:
    sources = [tmp_path / f"bytes{number}" for number in range(4)]
    for source in sources:
        source.write_bytes(source.name.encode())
    for call, after in (("link", 0), ("link", 3), ("fsync", 1), ("rename", 0)):
        command = [sys.executable, "-c", _KILLED, call, str(after), str(tmp_path)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
        assert [path.suffix for path in tmp_path.iterdir() if path.is_dir()] == [".part"], "none that seems whole"
    folder = lay_out(tmp_path, [(f"set/{number % 2}/{number}.png", one) for number, one in enumerate(sources)])
    for number, source in enumerate(sources):
        assert os.path.samefile(folder / "set" / str(number % 2) / f"{number}.png", source)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", "a/", "C:/a", "a\\b", "a\nb", "a\0b", "CON", "x/nul.hdf5",
        "com1.h5", " a", "a ", "a.", "a/b./c", "x" * 256, "é" * 128, "d/" * 13 + "a", "a/" * 600, "\u202egnp.exe",
    ],
)  # fmt: skip
def test_names_that_are_refused(path: str, tmp_path: Path) -> None:
    assert wrong_with_path(path)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(ValueError, match=":"):
        lay_out(tmp_path / "out", [("good", source), (path, source)])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["source"]


def test_names_that_are_taken() -> None:
    for path in ("a.hdf5", "Tag 1/läufe/走.hdf5", ".hidden/a", "a..b", "12:30:01.bag", "d/" * 12 + "a"):
        assert wrong_with_path(path) is None, path
    assert set(wrong_together(["a/b", "A/B", "c", "c/d", "e/f", "e"])) == {"A/B", "c/d", "e"}
    assert not wrong_together(["a/b", "a/c", "b"])
