"""What a host does with a live simulator while a person looks: other cameras, another seed, nothing lost."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.spec import ALOHA_CAMERAS, CameraSpec

SMALL = (CameraSpec(name=ALOHA_CAMERAS[0], height=48, width=64),)
OTHER = (CameraSpec(name="cam_angle", height=56, width=56),)


def moves(steps: int) -> np.ndarray:
    """(steps, 14): both waists and grippers swing."""
    start = np.array([0, -0.96, 1.16, 0, -0.3, 0, 0.1] * 2, np.float32)
    actions = np.tile(start, (steps, 1))
    actions[:, [0, 6, 7, 13]] += 0.3 * np.sin(np.arange(steps) / 8)[:, None].astype(np.float32) ** 2
    return actions


def test_the_adopted_scene_goes_on_to_the_last_bit() -> None:
    one, two = AlohaSim(cameras=()), AlohaSim(cameras=())
    one.connect()
    two.connect()
    one.reset(5)
    actions = moves(120)
    for action in actions[:60]:
        one.act(action)
    two.adopt(one)
    assert two.observe().time == one.observe().time
    for action in actions[60:]:
        one.act(action)
        two.act(action)
        np.testing.assert_array_equal(one.data.qpos, two.data.qpos)
        np.testing.assert_array_equal(one.data.qvel, two.data.qvel)
    assert one.outcome() == two.outcome()


def test_a_scene_of_another_task_is_not_adopted() -> None:
    one, two = AlohaSim(cameras=()), AlohaSim(task=AlohaTask.INSERTION, cameras=())
    one.connect()
    two.connect()
    with pytest.raises(RobotError, match="cannot go on"):
        two.adopt(one)


@pytest.fixture
def robot() -> Iterator[LiveAlohaSim]:
    robot = LiveAlohaSim(cameras=SMALL, frame_rate=50.0)
    robot.connect()
    yield robot
    robot.disconnect()


def frames_of(robot: LiveAlohaSim, seconds: float = 20.0) -> dict[str, np.ndarray]:
    """The first frames of the present episode."""
    deadline = time.monotonic() + seconds
    while not (frames := robot.observe().frames):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return {name: frame.image for name, frame in frames.items()}


def test_a_robot_with_other_cameras_shows_the_scene_that_it_adopted(robot: LiveAlohaSim) -> None:
    other = LiveAlohaSim(cameras=OTHER, frame_rate=50.0)
    other.connect()
    try:
        before = frames_of(other)["cam_angle"]
        for action in moves(40):
            robot.act(action)
        other.adopt(robot)
        np.testing.assert_array_equal(other.observe(images=False).qpos, robot.observe(images=False).qpos)
        assert np.abs(frames_of(other)["cam_angle"].astype(int) - before).max() > 20, "no frame of the old scene"
    finally:
        other.disconnect()


def test_a_reset_that_does_not_wait_costs_no_time_and_shows_no_old_frame(robot: LiveAlohaSim) -> None:
    for action in moves(20):
        robot.act(action)
    took = []
    for seed in (7, 5, 4, 3):
        started = time.monotonic()
        seen = robot.reset(seed, wait=False)
        took.append(time.monotonic() - started)
    assert min(took) < 0.1, "at one of them the machine was not busy with something else"
    assert not seen.frames
    assert seen.time == 0.0
    assert frames_of(robot)[ALOHA_CAMERAS[0]].std() > 5
