"""Recordings for the Rerun viewer, written and read by its own package in an environment that has it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dexvla.formats import sources
from dexvla.formats.base import FormatError
from dexvla.formats.rerun import RERUN as EXPORTER
from tests.support.environments import RERUN, PipFailed
from tests.support.episode_data import episode_data
from tests.support.media_data import INSTRUCTION, export_episode, exported
from tests.support.paths import ROOT

pytestmark = [pytest.mark.download, pytest.mark.slow]

EXPORT = """
import sys
from pathlib import Path
from dexvla.episodes.manifest import find_set
from dexvla.formats.exporting import with_labels_of
from dexvla.formats.rerun import RERUN
path, out = sys.argv[1:]
RERUN.export(with_labels_of(find_set(path)).episodes, Path(out), on_episode=lambda done: print(done.files))
"""


@pytest.fixture(scope="module")
def rerun_python() -> Path:
    """An interpreter with Rerun beside everything else; skips only where pip cannot install it."""
    if importlib.util.find_spec("rerun_bindings") is not None:
        return Path(sys.executable)
    try:
        return RERUN.python()
    except PipFailed as error:
        pytest.skip(f"pip cannot install Rerun: {error}")


@pytest.mark.parametrize("jpeg", [True, False])
def test_a_recording_holds_cameras_joints_and_substeps_by_step_and_time(
    rerun_python: Path, tmp_path: Path, jpeg: bool
) -> None:
    data = episode_data(jpeg=jpeg, cameras=("cam_high", "cam wrist"))
    episode = export_episode(tmp_path, data)
    (tmp_path / "out").mkdir()
    # its own home: the command line of Rerun greets each new user and reports nothing in that first session
    surroundings = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    def call(*arguments: str | Path) -> str:
        command = [rerun_python, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call("-c", EXPORT, episode.path, tmp_path / "out") == "('one.rrd',)\n"
    path = tmp_path / "out" / "one.rrd"
    call("-m", "rerun", "rrd", "verify", path)
    said = call("-m", "rerun", "rrd", "print", "-vvv", path)
    for entity in ("/state", "/action", "/velocity", "/camera/cam_high", "/camera/cam_wrist", "/substep"):
        assert entity in said
    assert INSTRUCTION in said
    for text in ("Reach for the cube", "Lift the cube"):
        assert text in said
    assert ("image/jpeg" in said) == jpeg
    if jpeg:
        content = path.read_bytes()
        assert len(content) > sum(len(frame) for frames in data.images.values() for frame in frames)
    assert np.isfinite(data.qpos).all()


def test_without_the_package_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(sources, "import_module", missing)
    with pytest.raises(FormatError, match=r"needs the package rerun.*pip install 'dexvla-studio\[rerun\]'"):
        exported(EXPORTER, tmp_path / "out", export_episode(tmp_path, episode_data()))
