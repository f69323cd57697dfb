"""The image for people: lit, in no recording, and no pixel of a robot's camera changes for it."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.scene import OVERVIEW, check_cameras
from dexvla.spec import CameraSpec

TABLE = CameraSpec(name="cam_table", height=112, width=112)


@pytest.fixture
def robot() -> Iterator[LiveAlohaSim]:
    robot = LiveAlohaSim(task=AlohaTask.PICK_COLOUR, cameras=(TABLE,), overview=True)
    robot.connect()
    yield robot
    robot.disconnect()


def test_it_is_made_while_somebody_looks_and_is_no_camera_of_the_robot(robot: LiveAlohaSim) -> None:
    assert robot.reset(4).frames.keys() == {"cam_table"}
    assert [camera.name for camera in robot.info.cameras] == ["cam_table"]
    assert robot.views == (OVERVIEW,)
    robot.watch({OVERVIEW.name})
    deadline = time.monotonic() + 60
    while OVERVIEW.name not in (frames := robot.observe().frames):
        assert time.monotonic() < deadline, robot.camera_fault
        time.sleep(0.02)
    image = frames[OVERVIEW.name].image
    assert image.shape == (OVERVIEW.height, OVERVIEW.width, 3)
    assert image[:40].mean() > 150, "a sky, where the robot's cameras see black"
    assert image.mean() > 80
    saturated = image.max(axis=2).astype(int) - image.min(axis=2)
    assert (saturated > 150).mean() > 0.002, "the cubes can be told by their colours"


def test_the_robots_cameras_show_the_same_pixels_beside_it(robot: LiveAlohaSim) -> None:
    seen = robot.reset(4).frames["cam_table"].image
    plain = AlohaSim(task=AlohaTask.PICK_COLOUR, cameras=(TABLE,))
    plain.connect()
    np.testing.assert_array_equal(seen, plain.reset(4).frames["cam_table"].image)
    plain.disconnect()


def test_nobody_can_record_it_or_show_it_to_a_policy() -> None:
    with pytest.raises(RobotError, match="no camera 'overview'"):
        check_cameras((OVERVIEW,))
