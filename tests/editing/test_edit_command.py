"""`dexvla edit`: what it will make, what it made, and one line for what cannot be done."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dexvla.cli import app
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import UserError
from tests.support.episode_data import episode_data
from tests.support.robot_hosts import until


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    for number in range(2):
        write_episode(made / f"episode_{number}.hdf5", episode_data(seed=number, size=(16, 16)))
    return made


def test_a_plan_is_looked_at_and_then_done(folder: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", tmp_path / "plan.json"
    run("edit", folder, "--split-at", "10", "--outcome", "success", "--dry-run", "--json", said)
    plan = json.loads(said.read_text())
    assert not plan["written"]
    assert [one["name"] for one in plan["edits"]] == ["episode_0_1", "episode_0_2", "episode_1_1", "episode_1_2"]
    assert not out.exists()
    run("edit", "--plan", said, "--out", out, "--json", tmp_path / "done.json")
    done = json.loads((tmp_path / "done.json").read_text())
    assert [Path(one["file"]).name for one in done["edits"]] == [f"{one['name']}.hdf5" for one in plan["edits"]]
    with open_episode(out / "episode_1_2.hdf5") as episode:
        assert episode.steps == 14
        assert episode.attributes.success is True
    with pytest.raises(UserError, match="exists already; episodes are never overwritten"):
        run("edit", "--plan", said, "--out", out)


def test_files_are_joined_and_renamed(folder: Path, tmp_path: Path) -> None:
    run("edit", folder, "--join", "--rename-camera", "cam_high=top", "--instruction", "Twice.", "--out", tmp_path)
    with open_episode(tmp_path / "episode_0_joined.hdf5") as episode:
        assert episode.steps == 48
        assert episode.cameras == ("cam_left_wrist", "cam_right_wrist", "top")
        assert episode.instruction == "Twice."


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--keep", "3"], "expected the first and the last step"),
        (["--keep", "3..99"], r"episode_0.hdf5: steps 3\.\.99 are none of this episode; it has 0\.\.23"),
        (["--keep", "3..9", "--join"], "--keep and --join are several edits"),
        ([], "nothing to do"),
        (["--rename-camera", "a"], "expected OLD=NEW"),
        (["--drop-idle"], "nothing was edited; .* there is no rest to be left out"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, flags: list[str], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        run("edit", folder, *flags, "--out", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_kill_in_the_middle_leaves_no_half_episode(tmp_path: Path) -> None:
    source, out = tmp_path / "long.hdf5", tmp_path / "out"
    write_episode(source, episode_data(steps=3000, size=(16, 16), cameras=("a", "b")))
    command = [sys.executable, "-m", "dexvla.cli", "edit", source, "--split-at", "1000,2000", "--out", out]
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: (out.exists() and any(out.iterdir())) or child.poll() is not None)
    os.kill(child.pid, signal.SIGTERM)
    child.wait()
    left = sorted(path.name for path in out.iterdir())
    assert all(name.startswith("long_") for name in left), left
    for name in left:
        with open_episode(out / name) as episode:
            assert episode.steps == 1000
