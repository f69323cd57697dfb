from pathlib import Path

import numpy as np
import pytest

from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError, RobotError
from dexvla.robots.base import Robot
from dexvla.robots.registry import make_robot
from dexvla.robots.replay import ReplayRobot

pytestmark = pytest.mark.clockless

STEPS, STATE, ACTION = 5, 7, 6


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """An episode of another robot: 7 joints, 6 actions, one camera, its clock starting at 100 s."""
    random = np.random.default_rng(0)
    path = tmp_path / "episode_0.hdf5"
    times = 100 + np.arange(STEPS) / 20
    write_episode(
        path,
        EpisodeData(
            action=random.normal(size=(STEPS, ACTION)),
            qpos=random.normal(size=(STEPS, STATE)),
            qvel=random.normal(size=(STEPS, STATE)),
            images={"front": random.integers(0, 255, (STEPS, 24, 32, 3), np.uint8)},
            instruction="Fold the towel.",
            attributes=EpisodeAttributes(sim=False, fps=20.0),
            timestamp=times,
            image_timestamp={"front": times - 0.03},
        ),
    )
    return path


def test_it_shows_the_recording_step_by_step_and_keeps_what_it_is_told(recording: Path) -> None:
    robot = make_robot("replay", path=recording)
    assert isinstance(robot, ReplayRobot)
    assert isinstance(robot, Robot)
    assert robot.info.control_hz == 20.0
    assert not robot.info.simulated
    assert [(c.name, c.height, c.width) for c in robot.info.cameras] == [("front", 24, 32)]
    assert len(robot.info.joint_names) == STATE
    assert robot.instruction == "Fold the towel."
    robot.connect()
    qpos, images, times, ages = [], [], [], []
    for step in range(STEPS):
        seen = robot.observe()
        qpos.append(seen.qpos)
        images.append(seen.frames["front"].image)
        times.append(seen.time)
        ages.append(seen.time - seen.frames["front"].time)
        assert np.array_equal(robot.act(np.full(ACTION, step, np.float64)), np.full(ACTION, step, np.float32))
    assert robot.finished
    with pytest.raises(RobotError, match="ended after 5 steps"):
        robot.act(np.zeros(ACTION))
    assert np.array_equal(robot.observe().qpos, qpos[-1])
    robot.disconnect()
    robot.disconnect()

    reference = ReplayRobot(path=recording)
    reference.connect()
    assert len({frame.tobytes() for frame in images}) == STEPS
    assert np.array_equal(reference.observe().qpos, qpos[0])
    assert len({q.tobytes() for q in qpos}) == STEPS
    np.testing.assert_allclose(times, np.arange(STEPS) / 20, atol=1e-9)
    np.testing.assert_allclose(ages, 0.03, atol=1e-9)
    assert np.array_equal(robot.actions[:, 0], np.arange(STEPS))


def test_looping_starts_over_with_the_clock_going_on(recording: Path) -> None:
    robot = ReplayRobot(path=recording, loop=True)
    robot.connect()
    seen = []
    for _ in range(2 * STEPS + 1):
        seen.append(robot.observe(images=False))
        robot.act(np.zeros(ACTION, np.float32))
    assert not robot.finished
    assert np.array_equal(seen[0].qpos, seen[STEPS].qpos)
    np.testing.assert_allclose(np.diff([s.time for s in seen]), 1 / 20, atol=1e-9)
    assert seen[0].frames == {}


def test_bad_actions_and_bad_files_are_refused(recording: Path, tmp_path: Path) -> None:
    robot = ReplayRobot(path=recording)
    with pytest.raises(RobotError, match="not connected"):
        robot.observe()
    robot.connect()
    with pytest.raises(RobotError, match=r"\(6,\), got \(7,\)"):
        robot.act(np.zeros(STATE, np.float32))
    with pytest.raises(RobotError, match="NaN"):
        robot.act(np.full(ACTION, np.nan, np.float32))
    assert len(robot.actions) == 0
    with pytest.raises(EpisodeError, match="no such file"):
        ReplayRobot(path=tmp_path / "missing.hdf5")
