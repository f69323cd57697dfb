import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from dexvla.errors import RobotError
from dexvla.robots import registry
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.base import Robot, TaskRobot
from dexvla.spec import RenderProfile, TaskChoice

pytestmark = pytest.mark.clockless


def test_the_simulated_robot_is_made_by_name() -> None:
    robot = registry.make_robot("aloha_sim", task=AlohaTask.INSERTION, cameras=())
    assert isinstance(robot, AlohaSim)
    assert isinstance(robot, TaskRobot)
    assert robot.instruction == "Insert the red peg into the blue socket."


def test_an_unknown_robot_is_refused_with_the_known_names() -> None:
    with pytest.raises(RobotError, match=r"unknown robot 'aloha'; known: .*aloha_sim.*replay"):
        registry.make_robot("aloha")


def test_an_option_that_the_robot_does_not_take_is_refused() -> None:
    with pytest.raises(RobotError, match=r"aloha_sim.*colour"):
        registry.make_robot("aloha_sim", colour="red")


def test_a_plug_in_is_found_and_cannot_displace_a_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "dexvla.robots.aloha_sim:AlohaSim", registry.GROUP),
        EntryPoint("aloha_sim", "os:getcwd", registry.GROUP),
        EntryPoint("broken", "no_such_package:Robot", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [p for p in points if p.group == group])
    assert isinstance(registry.make_robot("mine", cameras=()), Robot)
    assert isinstance(registry.make_robot("aloha_sim", cameras=()), AlohaSim)
    with pytest.raises(RobotError, match=r"'broken' \(no_such_package:Robot\) cannot be loaded"):
        registry.make_robot("broken")


def test_a_robot_with_tasks_calls_itself_as_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("mine", "dexvla.robots.aloha_sim.plugin:ALOHA_SIM", registry.GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points)
    with pytest.raises(RobotError, match=r"robot 'mine' calls itself 'aloha_sim' in RobotInfo.name.* must be 'mine'"):
        registry.make_task_robot("mine", TaskChoice(), cameras=(), render=RenderProfile.FAST)
    with pytest.raises(RobotError, match="calls itself"):
        registry.needs_no_options("mine")
    for ours in ("aloha_sim", "aloha_sim_live"):  # the second is another way to make the first
        registry.needs_no_options(ours)


def test_naming_robots_loads_neither_mujoco_nor_torch() -> None:
    program = (
        "import sys, dexvla.robots.registry as r, dexvla.robots.aloha_sim, dexvla.robots.replay\n"
        "r.make_robot('aloha_sim')\n"
        "print([m for m in ('mujoco', 'gym_aloha', 'dm_control', 'torch', 'mink') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
