"""A robot of somebody else's package, found by its entry point, in the commands: record, eval, serve."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dexvla.episodes.check import check_episodes
from dexvla.episodes.format import SCENE_ATTRIBUTES, wrong_scene_attributes
from dexvla.episodes.reader import open_episode
from dexvla.errors import RobotError
from dexvla.robots.base import Adopting, Robot, TaskRobot
from dexvla.robots.live import as_live, is_live_task_robot, is_task_robot
from dexvla.robots.record import Taking
from dexvla.robots.registry import make_live, make_robot, read_options, robot_kind, task_descriptions
from dexvla.spec import CameraSpec
from tests.support import commands
from tests.support.commands import Done, typed
from tests.support.plugged_in import plug_in
from tests.support.tiny_policies import tiny_checkpoint

pytestmark = [pytest.mark.clockless, pytest.mark.slow]

CAMERA = CameraSpec(name="cam_top", height=48, width=64)
ACTS = {"action_dim": 3, "state_dim": 3, "chunk_size": 10, "robot": "bench_arm", "fps": 20}


@pytest.fixture(autouse=True)
def plugged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return plug_in(tmp_path / "site", monkeypatch)


def dexvla(*arguments: object, status: int = 0, how: Callable[..., Done] = commands.dexvla) -> str:
    """What the command says; a traceback is never part of it."""
    run = how(*arguments, cwd=Path.cwd())
    said = " ".join(run.stderr.split())
    assert run.returncode == status, said
    assert "Traceback" not in run.stderr
    return said


def test_it_is_a_robot_with_tasks_and_can_be_driven_live() -> None:
    robot = make_robot("bench_arm")
    assert isinstance(robot, Robot)
    assert isinstance(robot, TaskRobot)
    assert is_live_task_robot(make_live("bench_arm"))
    (task,) = task_descriptions("bench_arm")
    colour, distance = task.fields
    assert (task.title, colour.kind, [choice.label for choice in colour.choices]) == (
        "Reach the target",
        "choice",
        ["red", "blue"],
    )
    assert (distance.label, distance.low, distance.high, distance.unit) == ("Distance", 0.05, 0.25, "m")


def test_options_from_a_file_are_checked_by_the_types_of_its_parameters() -> None:
    make = robot_kind("bench_arm").make
    read = read_options("bench_arm", make, {"cameras": [{"name": "cam_top", "height": 96}], "bench": "bench 3"})
    assert read == {"cameras": (CameraSpec(name="cam_top", height=96),), "bench": "bench 3"}
    with pytest.raises(RobotError, match=r"options of robot 'bench_arm': bensh.*it takes: .*bench"):
        read_options("bench_arm", make, {"bensh": "x"})
    with pytest.raises(RobotError, match=r"options of robot 'bench_arm': bench: .*found '3'"):
        read_options("bench_arm", make, {"bench": 3})


def test_it_is_recorded_with_options_of_its_place_and_of_its_task(tmp_path: Path) -> None:
    place, out, json_file = tmp_path / "place.yaml", tmp_path / "out", tmp_path / "result.json"
    place.write_text("bench: bench 3\n")
    asked = (
        "record",
        "--robot",
        "bench_arm",
        "--options",
        place,
        "--option",
        "distance=0.2",
        "--option",
        "colour=blue",
    )
    size = ("--cameras", "cam_top", "--height", 48, "--width", 64)
    taken = ("--episodes", 2, "--seed", 7, "--out", out, "--json", json_file)
    dexvla(*asked, "--option", "colour=blue", *size, *taken, how=typed)
    assert json.loads(json_file.read_text())["kept"] == [7, 8]
    files = sorted(out.iterdir())
    assert check_episodes(files).ok
    with open_episode(files[0]) as episode:
        assert episode.instruction == "Reach the blue target on the bench 3."
        facts = episode.attributes
        assert (facts.robot, facts.task, facts.fps, facts.seed, facts.success) == ("bench_arm", "reach", 20.0, 7, True)
        assert episode.scene_attributes == {"colour": "blue", "distance": 0.2}
        assert episode.cameras == ("cam_top",)
        assert np.linalg.norm(episode.qpos[-1, :2]) == pytest.approx(0.2, abs=0.02)


def test_flags_change_what_a_spec_file_says_of_its_cameras(tmp_path: Path) -> None:
    spec, out = tmp_path / "spec.json", tmp_path / "out"
    cameras = [{"name": "cam_top", "height": 48, "width": 64}]
    spec.write_text(json.dumps({"robot": "bench_arm", "cameras": cameras, "episodes": 1}))
    dexvla("record", "--spec", spec, "--height", 96, "--out", out)
    with open_episode(out / "episode_0.hdf5") as episode:
        assert episode.cameras == ("cam_top",)
        assert episode.frame("cam_top", 0).shape == (96, 64, 3)
    spec.write_text(json.dumps({"recovery": True}))
    said = dexvla("record", "--spec", spec, "--recovery", "--out", out, status=1)
    assert "expected its options by name, found True" in said


def test_a_scene_that_says_what_no_reader_would_find_is_refused_before_it_is_recorded() -> None:
    for wrong, why in (
        ({"seed": 3.0}, "seed is a name that every episode has"),
        ({SCENE_ATTRIBUTES: "x"}, "scene_attributes is a name that every episode has"),
        ({"two words": "x"}, "'two words' is no name"),
        ({"colour": "x" * 65}, "colour has 65 characters, 64 are allowed"),
        ({"colour": ["red"]}, "colour is a list"),
        ({f"a{number}": 1.0 for number in range(17)}, "there are 17 of them, 16 are allowed"),
    ):
        robot: Any = SimpleNamespace(scene_attributes=wrong, info=SimpleNamespace(name="bench_arm"))
        with pytest.raises(RobotError, match=f"scene_attributes of bench_arm cannot be recorded: {why}"):
            Taking(robot, jpeg_quality=90)
    assert wrong_scene_attributes({"colour": "blue", "distance": np.float32(0.2), "swapped": True}) is None


class _Shy:
    """A simulator whose properties raise before it is connected, and whose fault is None."""

    camera_fault: str | None = None
    views: tuple[CameraSpec, ...] = ()
    task, max_steps, max_reward = "reach", 1, 1.0
    info = render_profile = scene_attributes = None

    @property
    def instruction(self) -> str:
        raise RobotError("not connected")

    def nothing(self, *_: object, **__: object) -> None: ...

    connect = observe = act = disconnect = watch = restart_cameras = reset = outcome = nothing


def test_what_a_robot_is_can_be_told_without_asking_it() -> None:
    robot: Any = _Shy()
    assert is_task_robot(robot)
    assert as_live(robot) is robot, "a fault that is None is one"
    assert is_live_task_robot(robot), "its scene begins anew where it cannot adopt another one"
    assert not isinstance(robot, Adopting)
    assert not is_task_robot(object())


def test_what_it_does_not_have_is_told_before_anything_is_recorded(tmp_path: Path) -> None:
    robot = ("record", "--robot", "bench_arm", "--cameras", "cam_top", "--out", tmp_path / "out")
    assert "reach has no option speed; it has colour, distance" in dexvla(*robot, "--option", "speed=1", status=1)
    assert "reach has no option level" in dexvla(*robot, "--level", "jitter", status=1)
    assert "less than or equal to 0.25" in dexvla(*robot, "--option", "distance=1", status=1)
    assert "no task 'insertion'; it has reach" in dexvla(*robot, "--task", "insertion", status=1)
    assert "shows no recoveries" in dexvla(*robot, "--recovery", status=1)
    assert "it takes: task, options" in dexvla(*robot, "--options", _file(tmp_path, "port: 3"), status=1)
    assert not (tmp_path / "out").exists()


def test_a_policy_is_evaluated_on_it_and_served_for_it_alone(tmp_path: Path) -> None:
    camera = CAMERA.model_copy(update={"height": 56, "width": 56})
    checkpoint = tiny_checkpoint(tmp_path, **ACTS, cameras=(camera,), recorded_cameras=(CAMERA,))
    report, spec = tmp_path / "report.json", tmp_path / "spec.json"
    spec.write_text(json.dumps({"robot": "bench_arm", "options": {"colour": "blue"}, "max_steps": 8, "seed": 3}))
    dexvla("eval", checkpoint, "--spec", spec, "--episodes", 2, "--json", report)
    found = json.loads(report.read_text())
    assert [episode["seed"] for episode in found["episodes"]] == [3, 4]
    settings = found["settings"]
    assert (settings["task"], settings["options"]) == ("reach", {"colour": "blue", "distance": 0.15})
    said = dexvla("serve", checkpoint, "--robot", "aloha_sim", status=1)
    assert "aloha_sim has no camera" in said or "aloha_sim has 14 actions" in said or "cam_top" in said


def _file(folder: Path, text: str) -> Path:
    path = folder / "options.yaml"
    path.write_text(text)
    return path
