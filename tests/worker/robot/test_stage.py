"""A scene whose plug-in has defects: whoever asks is told, and all else goes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dexvla.errors import RobotError
from dexvla.live.messages import Mode, SceneIn
from dexvla.robots.registry import make_live
from tests.support.plugged_in import plug_in
from worker.robot.stage import Stage

pytestmark = pytest.mark.clockless


class _Loop:
    def between(self, job: Callable[[], Any]) -> Any:
        return job()

    def begin_anew(self) -> None: ...

    def swap(self, robot: Any, *, task: str | None) -> Any:
        return SimpleNamespace(disconnect=lambda: None)


class Made:
    """Makes bench arms; `change` is done to each."""

    def __init__(self) -> None:
        self.change: Callable[[Any], None] = lambda robot: None
        self.disconnected = 0

    def __call__(self, **options: Any) -> Any:
        robot: Any = make_live("bench_arm", **options)
        self.change(robot)

        def disconnect() -> None:
            self.disconnected += 1

        robot.disconnect = disconnect
        return robot


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made) -> Stage:
    plug_in(tmp_path / "site", monkeypatch)
    first = made()
    first.connect()
    arbiter: Any = SimpleNamespace(now=SimpleNamespace(mode=Mode.IDLE, source=None))
    loop: Any = _Loop()
    return Stage(first, kind="bench_arm", make=made, loop=loop, arbiter=arbiter, scene=SceneIn(task="reach", seed=0))


BLUE = SceneIn(task="reach", seed=1, options={"colour": "blue"})


def test_a_plug_in_that_cannot_tell_how_its_task_stands_is_told_about(stage: Stage) -> None:
    robot: Any = stage._robot
    good = stage.scene()
    assert good is not None
    assert good.trouble is None

    def outcome() -> None:
        raise KeyError("target")

    robot.outcome = outcome
    told = stage.scene()
    assert told is not None
    assert (told.task, told.seed, told.success) == ("reach", 0, False)
    assert told.trouble is not None
    assert told.trouble.startswith(
        "bench_arm cannot tell how its task stands, which is a defect of its plug-in: KeyErr"
    )
    robot.outcome = lambda: SimpleNamespace(reward="much", success=False, wrong=None)
    told = stage.scene()
    assert told is not None
    assert told.trouble is not None
    assert "reward" in told.trouble


def test_a_scene_that_a_plug_in_breaks_at_is_refused_and_the_one_before_stays(stage: Stage, made: Made) -> None:
    before = stage.scene()

    def reset(seed: int, **_: object) -> None:
        raise ZeroDivisionError("no table")

    def breaks(robot: Any) -> None:
        robot.reset = reset

    made.change = breaks
    with pytest.raises(RobotError, match="cannot set the scene up, which is a defect of its plug-in: ZeroDivisionErr"):
        stage.show(BLUE)
    assert made.disconnected == 2, "it was tried twice, and nothing of it is left"
    assert stage.scene() == before
    made.change = lambda robot: None
    stage.show(BLUE)
    after = stage.scene()
    assert after is not None
    assert after.options["colour"] == "blue"


def test_options_that_give_the_robot_other_joints_are_refused(stage: Stage, made: Made) -> None:
    def grows(robot: Any) -> None:
        plain = robot._robot
        plain.info = replace(plain.info, joint_names=("x", "y", "z", "gripper"))

    made.change = grows
    with pytest.raises(RobotError, match=r"has other joints \(x, y, z, gripper\) than it runs with \(x, y, gripper\)"):
        stage.show(BLUE)
