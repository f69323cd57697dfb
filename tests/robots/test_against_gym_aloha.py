"""Our driver against gym-aloha's own environment (dm_control): same scene, same actions, same states and rewards."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dexvla.robots.aloha_sim import AlohaSim, gl, tasks
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.aloha_sim.options import AlohaTask

pytestmark = [pytest.mark.clockless, pytest.mark.slow]

gl.load_mujoco()  # before gym_aloha, which would otherwise choose the OpenGL
env_module = pytest.importorskip("gym_aloha.env")
sim_module = pytest.importorskip("gym_aloha.tasks.sim")

# Joints whose sign changes when an arm's motion is mirrored onto the other arm.
MIRROR = np.array([-1, 1, 1, -1, 1, -1, 1], np.float32)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Callable[[AlohaTask], Any]:
    """Makes gym-aloha's environment, less the three images that it renders at every step."""
    for task in (sim_module.TransferCubeTask, sim_module.InsertionTask):
        blank = {"images": {"top": np.zeros((1, 1, 3), np.uint8)}, "qpos": np.zeros(14)}
        monkeypatch.setattr(task, "get_observation", lambda self, physics, blank=blank: blank)
    return lambda task: env_module.AlohaEnv(task.value)


def expert_actions(task: AlohaTask, seed: int) -> NDArray[np.float32]:
    robot = AlohaSim(task=task, cameras=())
    robot.connect()
    robot.reset(seed)
    return np.array([step.action for step in ScriptedExpert(task, seed).plan(robot)])


def compare(env: Any, robot: AlohaSim, actions: NDArray[np.float32]) -> list[float]:
    """Play `actions` in both; returns the rewards, which must agree step by step, as must the states."""
    physics = env._env.physics
    assert np.array_equal(robot.data.qpos, physics.data.qpos)
    rewards = []
    for step, action in enumerate(actions):
        sent = robot.act(action)
        # In double precision, as the driver calculates: gym-aloha would scale a float32 gripper in float32.
        _, reward, terminated, _, _ = env.step(sent.astype(np.float64))
        outcome = robot.outcome()
        assert outcome.reward == reward, f"step {step}"
        assert outcome.success or not terminated
        np.testing.assert_allclose(robot.data.qpos, physics.data.qpos, rtol=0, atol=1e-9, err_msg=f"step {step}")
        np.testing.assert_allclose(robot.observe(images=False).qpos, env._env.task.get_qpos(physics), rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            robot.observe(images=False).qvel, env._env.task.get_qvel(physics), rtol=1e-5, atol=1e-5
        )
        rewards.append(reward)
    return rewards


def test_the_same_seed_is_the_same_scene(blind_robot: AlohaSim, reference: Callable[[AlohaTask], Any]) -> None:
    env = reference(blind_robot.task)
    for seed in range(20):
        env.reset(seed=seed)
        blind_robot.reset(seed)
        assert np.array_equal(blind_robot.data.qpos, env._env.physics.data.qpos)


def test_an_experts_episode_earns_the_same_rewards(
    blind_robot: AlohaSim, reference: Callable[[AlohaTask], Any]
) -> None:
    env = reference(blind_robot.task)
    env.reset(seed=11)
    blind_robot.reset(11)
    rewards = compare(env, blind_robot, expert_actions(blind_robot.task, 11))
    assert {0, 1, 2, 4} <= set(rewards)


def test_the_left_arm_grasping_a_cube_on_the_table_earns_three(
    reference: Callable[[AlohaTask], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reward 3 never comes up in the expert's own episode, so the mirrored one is played on a mirrored cube."""
    actions = expert_actions(AlohaTask.TRANSFER_CUBE, 3)
    mirrored = np.concatenate([actions[:, 7:] * MIRROR, actions[:, :7] * MIRROR], axis=1)
    pose = tasks.object_poses(AlohaTask.TRANSFER_CUBE, 3) * np.array([-1, 1, 1, 1, 1, 1, 1])
    monkeypatch.setattr(tasks, "object_poses", lambda task, seed: pose)
    monkeypatch.setattr(env_module, "sample_box_pose", lambda seed: pose)
    env = reference(AlohaTask.TRANSFER_CUBE)
    env.reset(seed=3)
    robot = AlohaSim(cameras=())
    robot.connect()
    assert {0, 3, 4} <= set(compare(env, robot, mirrored))


def test_a_crooked_insertion_scrapes_the_wall_and_earns_three(reference: Callable[[AlohaTask], Any]) -> None:
    actions = expert_actions(AlohaTask.INSERTION, 5)
    actions[:, 8] += np.linspace(0, 0.06, len(actions))  # the right shoulder sinks: the peg meets the socket's wall
    env = reference(AlohaTask.INSERTION)
    env.reset(seed=5)
    robot = AlohaSim(task=AlohaTask.INSERTION, cameras=())
    robot.connect()
    robot.reset(5)
    assert {0, 2, 3} <= set(compare(env, robot, actions))


def test_wild_actions_agree_too(blind_robot: AlohaSim, reference: Callable[[AlohaTask], Any]) -> None:
    random = np.random.default_rng(0)
    wild = random.normal(0, 1.5, (10, 14)).repeat(10, axis=0).astype(np.float32)
    env = reference(blind_robot.task)
    env.reset(seed=0)
    blind_robot.reset(0)
    compare(env, blind_robot, wild)


def test_full_profile_gives_gym_alohas_pixels() -> None:
    """In a program of its own: dm_control's OpenGL context and ours do not end well together."""
    program = """
import os
import numpy as np
from dexvla.robots.aloha_sim import AlohaSim, gl
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.spec import (CameraSpec, RenderProfile)
gl.load_mujoco()
from gym_aloha.env import AlohaEnv
env = AlohaEnv("insertion")
env.reset(seed=7)
theirs = env._env.physics.render(height=480, width=640, camera_id="top").copy()
robot = AlohaSim(task=AlohaTask.INSERTION, cameras=(CameraSpec(name="cam_high"),), render=RenderProfile.FULL)
robot.connect()
ours = robot.reset(7).frames["cam_high"].image
print(ours.shape, int((ours != theirs).sum()), ours.std() > 10, flush=True)
os._exit(0)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "(480, 640, 3) 0 True", run.stderr[-2000:]
