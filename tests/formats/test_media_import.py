"""The whole way: our file -> a format -> the import -> our file, with nothing lost that the format can hold."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from dexvla.episodes.format import StepSource
from dexvla.episodes.reader import Episode, open_episode
from dexvla.formats.base import Exporter
from dexvla.formats.csv_files import CSV
from dexvla.formats.importing import ImportedEpisode, import_source
from dexvla.formats.mcap import MCAP
from dexvla.formats.mp4 import MP4
from dexvla.spec import ImportProfile
from tests.support.episode_data import episode_data
from tests.support.media_data import INSTRUCTION, export_episode, exported, write_ros2

SOURCES = [StepSource.POLICY] * 10 + [StepSource.HOLD] * 2 + [StepSource.HUMAN] * 12


def taken_in(source: Path, out: Path, **profile: object) -> list[ImportedEpisode]:
    report = import_source(source, out, ImportProfile.model_validate(profile))
    assert not report.refused
    return report.imported


def bits(values: np.ndarray | None) -> bytes | None:
    return None if values is None else values.tobytes()


@pytest.mark.parametrize("jpeg", [True, False])
def test_an_episode_survives_mcap_whole(tmp_path: Path, jpeg: bool) -> None:
    data = episode_data(jpeg=jpeg, joint_positions=True, attributes={"robot": "aloha", "reward": 4.0, "held": True})
    times = np.arange(24) / 50 + 0.123
    data = dataclasses.replace(
        data,
        action_sent=data.action * np.float32(0.99),
        timestamp=times,
        host_timestamp=times + 1.7e9,
        image_timestamp={"cam_high": times - 0.01},
        step_source=SOURCES,
        marks=[3, 12],
    )
    episode = export_episode(tmp_path, data, success=True)
    exported(MCAP, tmp_path / "out", episode)
    (done,) = taken_in(tmp_path / "out", tmp_path / "back")
    assert done.guesses == ()
    with open_episode(episode.path) as before, open_episode(done.file) as after:
        for name in ("action", "qpos", "qvel", "joint_positions", "action_sent", "host_timestamp"):
            assert bits(getattr(after, name)) == bits(getattr(before, name)), name
        assert after.step_source == before.step_source
        assert after.marks == before.marks
        assert after.substep_reasonings == before.substep_reasonings
        assert after.label_source == before.label_source
        assert after.instruction == INSTRUCTION
        assert after.attributes == dataclasses.replace(before.attributes, success=True)
        assert_frames(before, after)


def assert_frames(before: Episode, after: Episode) -> None:
    assert after.cameras == before.cameras
    for camera in before.cameras:
        for step in range(before.steps):
            assert after.stored_frame(camera, step).tobytes() == before.stored_frame(camera, step).tobytes()


def test_motion_labels_and_times_survive_tables_and_videos(tmp_path: Path) -> None:
    data = dataclasses.replace(episode_data(cameras=("cam_high",)), step_source=SOURCES)
    episode = export_episode(tmp_path, data, success=False)
    exporters: tuple[Exporter, ...] = (CSV, MP4)
    for exporter in exporters:
        exported(exporter, tmp_path / "out", episode)
    (done,) = taken_in(tmp_path / "out", tmp_path / "back")
    with open_episode(episode.path) as before, open_episode(done.file) as after:
        for name in ("action", "qpos", "qvel", "timestamp"):
            assert bits(getattr(after, name)) == bits(getattr(before, name)), name
        assert after.step_source == before.step_source
        assert after.substep_reasonings == before.substep_reasonings
        assert (after.attributes.fps, after.attributes.success, after.instruction) == (50.0, False, INSTRUCTION)
        assert after.cameras == ("cam_high",)


def test_a_ros_bag_becomes_an_episode(tmp_path: Path) -> None:
    write_ros2(tmp_path / "bags" / "monday", StoragePlugin.SQLITE3)
    (done,) = taken_in(tmp_path / "bags", tmp_path / "back", instruction="Pour.", cameras=[{"source": "/raw"}])
    assert any("up to 2.0 ms away" in warning for warning in done.warnings)
    with open_episode(done.file) as episode:
        assert episode.steps == 30
        assert episode.instruction == "Pour."
        assert len(episode.cameras) == 1
        assert episode.attributes.fps == pytest.approx(30, abs=0.01)
        assert episode.host_timestamp is not None
        assert episode.host_timestamp[0] == pytest.approx(1.7e9 + 0.003)
