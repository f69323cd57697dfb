"""Recordings, tables and exports of the formats for people and other tools."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from dexvla.episodes.format import EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.segments import run_length
from dexvla.episodes.writer import write_episode
from dexvla.formats.base import Exported, ExportEpisode, Exporter
from tests.support.episode_data import episode_data

INSTRUCTION = "Transfer the red cube."


def exported(exporter: Exporter, out: Path, *episodes: ExportEpisode) -> list[Exported]:
    out.mkdir(parents=True, exist_ok=True)
    done: list[Exported] = []
    exporter.export(episodes, out, on_episode=done.append)
    assert [one.name for one in done] == [episode.name for episode in episodes]
    for one in done:
        assert all((out / file).is_file() for file in one.files)
    return done


def export_episode(folder: Path, data: EpisodeData, name: str = "one", **labels: Any) -> ExportEpisode:
    path = folder / f"{name}.hdf5"
    write_episode(path, data)
    told: dict[str, Any] = {
        "substeps": run_length(data.substep_reasonings or ()),
        "label_source": data.label_source,
        "success": data.attributes.success,
        **labels,
    }
    return ExportEpisode(path=path, name=name, instruction=INSTRUCTION, **told)


def episode_of(steps: int, **changes: Any) -> EpisodeData:
    """`episode_data` of any length from 1 on."""
    data = episode_data(steps=max(steps, 2), **changes)
    times, texts = data.timestamp, data.substep_reasonings
    return dataclasses.replace(
        data,
        action=data.action[:steps],
        qpos=data.qpos[:steps],
        qvel=data.qvel[:steps],
        images={camera: frames[:steps] for camera, frames in data.images.items()},
        substep_reasonings=None if texts is None else texts[:steps],
        timestamp=None if times is None else times[:steps],
    )


# --- ROS --------------------------------------------------------------------------------------------------

START = 1_700_000_000 * 10**9  # ns since 1970
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
STATE, ACTION = "/puppet/joint_left", "/master/joint_left"
CAMERA, RAW, DEPTH = "/cam/compressed", "/raw", "/depth"
Message = tuple[str, str, int, Any]  # topic, type, ns at which it is recorded, message


def image_at(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.roll(IMAGE, number, axis=1)


def robot_messages(store: Any, *, ros1: bool = False) -> list[Message]:
    """A second of two arms at 200 Hz and three cameras at 30 Hz that begin 3 ms later. Joints are named in another
    order in every other message."""
    types = store.types

    def header(time: int) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](sec=time // 10**9, nanosec=time % 10**9)
        counted = {"seq": 0} if ros1 else {}
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="", **counted)

    made: list[Message] = []
    for number in range(200):
        time = START + number * 5_000_000
        for topic, more in ((STATE, 0.0), (ACTION, 0.5)):
            names, values = ["waist", "elbow"], [number + more, 1.0]
            if number % 2:
                names, values = names[::-1], values[::-1]
            joints = types["sensor_msgs/msg/JointState"](
                header=header(time),
                name=names,
                position=np.array(values),
                velocity=np.array(values) / 2,
                effort=np.array([]),
            )
            made.append((topic, "sensor_msgs/msg/JointState", time + 1_000_000, joints))
    for number in range(30):
        time = START + 3_000_000 + number * 33_333_333
        image = image_at(number)
        jpeg = np.frombuffer(encode_jpeg(image), np.uint8)
        compressed = types["sensor_msgs/msg/CompressedImage"](
            header=header(time), format="rgb8; jpeg compressed bgr8", data=jpeg
        )
        made.append((CAMERA, "sensor_msgs/msg/CompressedImage", time + 2_000_000, compressed))
        for topic, encoding, pixels in (
            (RAW, "bgr8", image[..., ::-1]),
            (DEPTH, "16UC1", np.zeros((48, 64, 2), np.uint8)),
        ):
            raw = types["sensor_msgs/msg/Image"](
                header=header(time),
                height=48,
                width=64,
                encoding=encoding,
                is_bigendian=0,
                step=64 * pixels.shape[2],
                data=pixels.ravel(),
            )
            made.append((topic, "sensor_msgs/msg/Image", time + 2_000_000, raw))
    return sorted(made, key=lambda one: one[2])


def write_ros2(path: Path, storage: StoragePlugin, *, leave_out: Sequence[str] = ()) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer2(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for topic, kind, time, message in robot_messages(store):
            if topic in leave_out:
                continue
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time, store.serialize_cdr(message, kind))


def write_ros1(path: Path, compression: Writer1.CompressionFormat | None = None) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Writer1(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, time, message in robot_messages(store, ros1=True):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time, store.serialize_ros1(message, kind))
