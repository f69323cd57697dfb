"""Environments that tests make for themselves: once, and without a network ever after."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.support.environments import Environment, PipFailed


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can reach: a folder with one package."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_part-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_part.py", "NAME = 'tiny'\n")
        wheel.writestr("tiny_part-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-part\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_part-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_part-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize("on_top", [False, True])
def test_a_second_checkout_needs_no_network(index: Path, tmp_path: Path, on_top: bool) -> None:
    environment = Environment(name="tiny", packages=("tiny-part==1.0",), on_top=on_top)
    for checkout in ("first", "second"):
        (tmp_path / checkout).mkdir()
        python = environment.python(tmp_path / checkout, tmp_path / "cache")
        assert python.is_relative_to(tmp_path / checkout)
        said = subprocess.run([python, "-c", "import tiny_part; print(tiny_part.NAME)"], capture_output=True, text=True)
        assert said.stdout == "tiny\n", said.stderr
        sees = subprocess.run([python, "-c", "import pydantic"], capture_output=True).returncode == 0
        assert sees == on_top
        (index / "tiny_part-1.0-py3-none-any.whl").unlink(missing_ok=True)
    other = Environment(name="tiny", packages=("tiny-part==1.1",), on_top=on_top)
    with pytest.raises(PipFailed, match=r"tiny-part==1\.1"):  # another content is not taken for this one
        other.python(tmp_path / "first", tmp_path / "cache")
