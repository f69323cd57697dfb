"""The word "demo" wherever a checkpoint is asked for."""

import shutil
from pathlib import Path

import pytest

from dexvla import demo
from dexvla.errors import CheckpointError
from dexvla.train.runs import resolve_checkpoint


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "assets" / "demo"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(demo, "DEMO_FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_demo_is_the_checkpoint_that_comes_with_the_project(installed: Path) -> None:
    assert resolve_checkpoint("demo") == installed == resolve_checkpoint(Path("demo"))


def test_a_folder_of_that_name_goes_before_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert resolve_checkpoint("demo") == installed, "a folder of data that happens to have this name"
    (tmp_path / "demo" / "config.json").write_text("{}")
    assert resolve_checkpoint("demo") == Path("demo")


def test_an_installation_without_it_says_so(installed: Path) -> None:
    shutil.rmtree(installed)
    with pytest.raises(CheckpointError, match="not part of this installation"):
        resolve_checkpoint("demo")
