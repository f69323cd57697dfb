from collections.abc import Iterator

import pytest

from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask


@pytest.fixture(params=[AlohaTask.TRANSFER_CUBE, AlohaTask.INSERTION])
def blind_robot(request: pytest.FixtureRequest) -> Iterator[AlohaSim]:
    """A connected robot of each of gym-aloha's tasks, without cameras."""
    robot = AlohaSim(task=request.param, cameras=())
    robot.connect()
    yield robot
    robot.disconnect()
