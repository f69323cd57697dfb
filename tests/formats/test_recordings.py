"""MCAP and ROS bags: our own come back exactly, those of others become steps of one clock."""

import base64
import contextlib
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin

from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg, jpeg_size
from dexvla.episodes.reader import open_episode
from dexvla.formats import bags
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceEpisode
from dexvla.formats.mcap import MCAP
from dexvla.formats.recordings import MCAP_IN, ROSBAG, RecordingImporter
from dexvla.formats.resampling import nearest_of
from dexvla.spec import ImportProfile, Segment
from tests.support.episode_data import episode_data
from tests.support.media_data import (
    ACTION,
    CAMERA,
    DEPTH,
    INSTRUCTION,
    RAW,
    STATE,
    episode_of,
    export_episode,
    exported,
    image_at,
    write_ros1,
    write_ros2,
)

PLAIN = ImportProfile()


def assert_same(source: SourceEpisode, path: Path) -> None:
    """Motion and times to the last bit, images to the last byte."""
    with open_episode(path) as file:
        for ours, theirs in ((source.action, file.action), (source.qpos, file.qpos), (source.qvel, file.qvel)):
            assert ours is not None
            assert ours.tobytes() == theirs.tobytes()
        assert (source.timestamp is None) == (file.timestamp is None)
        if source.timestamp is not None and file.timestamp is not None:
            assert source.timestamp.tobytes() == file.timestamp.tobytes()
        assert tuple(source.cameras) == file.cameras
        for name, camera in source.cameras.items():
            assert (camera.height, camera.width) == file.frame_size(name)
            for _ in range(2):  # frames may be asked for again
                frames = list(camera.frames())
                assert len(frames) == file.steps
            for step, frame in enumerate(frames):
                stored = file.stored_frame(name, step)
                if isinstance(frame, bytes):
                    assert frame == stored.tobytes()[: len(frame)]
                    assert not stored[len(frame) :].any()
                else:
                    assert (frame == stored).all()


# --- our own ----------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.integers(1, 60),
    dims=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    cameras=st.sampled_from([("cam",), ("cam_high", "cam wrist ü"), ("a", "c", "d")]),
    jpeg=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_an_episode_comes_back_from_mcap_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
    dims: tuple[int, int],
    cameras: tuple[str, ...],
    jpeg: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("mcap")
    data = episode_of(
        steps, action_dim=dims[0], state_dim=dims[1], cameras=cameras, jpeg=jpeg, size=(16, 24), seed=seed
    )
    times = np.cumsum(np.random.default_rng(seed).uniform(0.001, 0.1, steps)) + 1.7e9
    data = dataclasses.replace(data, timestamp=times, image_timestamp={cameras[0]: times - 0.003})
    episode = export_episode(folder, data)
    exported(MCAP, folder / "out", episode)
    with MCAP_IN.open(folder / "out", "one.mcap", PLAIN) as source:
        assert_same(source, episode.path)
        back = source.cameras[cameras[0]].timestamp
        assert back is not None
        assert back.tobytes() == (times - 0.003).tobytes()


def test_labels_and_facts_come_back_from_mcap(tmp_path: Path) -> None:
    data = episode_data(attributes={"robot": "aloha", "task": "transfer", "seed": 3})
    labels = (Segment(start=0, end=5, text="Réach"), Segment(start=5, end=24, text=""))
    more = {"substeps": labels, "paraphrases": ("Move it.",), "success": False, "label_source": "human"}
    exported(MCAP, tmp_path / "out", export_episode(tmp_path, data, **more))
    with MCAP_IN.open(tmp_path / "out" / "one.mcap", "one.mcap", PLAIN) as source:
        assert source.substeps == labels
        assert source.instructions == (INSTRUCTION, "Move it.")
        assert (source.label_source, source.success) == ("human", False)
        assert (source.robot, source.task, source.seed, source.fps, source.sim) == ("aloha", "transfer", 3, 50.0, True)
        assert (source.warnings, source.guesses) == ((), ())


def test_foxglove_finds_its_messages_on_one_timeline(tmp_path: Path) -> None:
    wall = 1.7e9 + np.arange(24) / 50
    data = dataclasses.replace(episode_data(), host_timestamp=wall)
    exported(MCAP, tmp_path / "out", export_episode(tmp_path, data))
    with (tmp_path / "out/one.mcap").open("rb") as file:
        reader = make_reader(file)
        messages = [(channel.topic, schema.name, one.log_time) for schema, channel, one in reader.iter_messages()]
    kinds = {topic: name for topic, name, _ in messages}
    assert kinds["/camera/cam_high"] == "foxglove.CompressedImage"
    assert kinds["/state"] == kinds["/action"] == "foxglove.JointStates"
    assert kinds["/substep"] == kinds["/instruction"] == "foxglove.Log"
    start = round(1.7e9 * 1e9)
    assert [time - start for topic, _, time in messages if topic == "/state"] == [
        step * 20_000_000 for step in range(24)
    ]
    assert [time - start for topic, _, time in messages if topic == "/substep"] == [0, 240_000_000]
    assert [time for _, _, time in messages] == sorted(time for _, _, time in messages)


def test_swapped_jpeg_rows_are_put_right_and_the_loss_is_told(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, episode_data(cameras=("cam",)))
    with h5py.File(episode.path, "r+") as file:
        del file.attrs["jpeg_channels"]
    (done,) = exported(MCAP, tmp_path / "out", episode)
    assert done.loss_db is not None
    assert done.loss_db > 25
    assert any("red and blue" in warning for warning in done.warnings)
    with MCAP_IN.open(tmp_path / "out", "one.mcap", PLAIN) as source, open_episode(episode.path) as file:
        frame = next(iter(source.cameras["cam"].frames()))
        assert isinstance(frame, bytes)
        assert np.abs(decode_jpeg(frame).astype(float) - file.frame("cam", 0)).mean() < 10


def test_facts_that_do_not_fit_are_not_believed(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, episode_data(cameras=("cam",)))
    exported(MCAP, tmp_path / "out", episode)
    path = tmp_path / "out/one.mcap"
    path.write_bytes(path.read_bytes().replace(b'"steps": 24', b'"steps": 23'))
    with MCAP_IN.open(path, "one.mcap", PLAIN) as source:
        assert any("do not have 23 messages each" in warning for warning in source.warnings)
        assert source.steps == 24
        assert list(source.cameras) == ["/camera/cam"]


# --- those of others --------------------------------------------------------------------------------------

Writers = dict[str, tuple[RecordingImporter, Callable[[Path], object]]]
WRITERS: Writers = {
    "two": (ROSBAG, lambda path: write_ros2(path, StoragePlugin.SQLITE3)),
    "mcap": (MCAP_IN, lambda path: write_ros2(path, StoragePlugin.MCAP)),
    "plain.bag": (ROSBAG, write_ros1),
    "bz2.bag": (ROSBAG, lambda path: write_ros1(path, Writer1.CompressionFormat.BZ2)),
    "lz4.bag": (ROSBAG, lambda path: write_ros1(path, Writer1.CompressionFormat.LZ4)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_ros_recording_becomes_steps_of_one_clock(tmp_path: Path, kind: str) -> None:
    importer, write = WRITERS[kind]
    write(tmp_path / kind)
    assert importer.recognises(tmp_path)
    assert list(importer.episodes(tmp_path)) == [kind]
    with importer.open(tmp_path, kind, PLAIN) as source:
        assert source.steps == 30
        assert source.fps == pytest.approx(30, abs=0.01)
        assert source.timestamp is not None
        assert source.timestamp[:3] == pytest.approx([0, 0.0333333, 0.0666667], abs=1e-6)
        # cameras begin 3 ms after the joints, which come every 5 ms: the second message is nearer
        steps = np.round((3 + np.arange(30) * 33.333333) / 5)
        assert source.state_names == ("waist", "elbow")
        assert source.qpos.tolist() == [[step, 1.0] for step in steps]
        assert source.action.tolist() == [[step + 0.5, 1.0] for step in steps]
        assert source.qvel is not None
        assert source.qvel.tolist() == [[step / 2, 0.5] for step in steps]
        assert [camera for camera in source.cameras] == [CAMERA, RAW]
        jpeg, raw = (list(source.cameras[camera].frames()) for camera in (CAMERA, RAW))
        assert jpeg == [encode_jpeg(image_at(number)) for number in range(30)]
        assert all((frame == image_at(number)).all() for number, frame in enumerate(raw))
        told = " ".join(source.warnings)
        assert f"{DEPTH} holds distances" in told
        (error,) = re.findall(r"up to ([\d.]+) ms away", told)
        assert float(error) == 2.0
        assert Guess(GuessAbout.STATE, f"state is {STATE}, by the name") in source.guesses
        assert Guess(GuessAbout.ACTION, f"action is {ACTION}, by the name") in source.guesses


def test_a_profile_names_topics_and_fields(tmp_path: Path) -> None:
    write_ros2(tmp_path / "bag", StoragePlugin.SQLITE3)
    profile = ImportProfile(state_entry=f"{ACTION}, {STATE}.velocity", action_entry=STATE)
    with ROSBAG.open(tmp_path / "bag", "bag", profile) as source:
        assert source.qpos[0].tolist() == [1.5, 1.0, 0.5, 0.5]
        assert source.action[0].tolist() == [1.0, 1.0]
        assert source.state_names == ()


def test_without_an_action_the_next_state_is_one_where_a_person_says_so(tmp_path: Path) -> None:
    write_ros2(tmp_path / "bag", StoragePlugin.SQLITE3, leave_out=[ACTION])
    with pytest.raises(FormatError, match=rf"no topic looks like the action; say which with action_entry.*{STATE}"):
        ROSBAG.open(tmp_path / "bag", "bag", PLAIN).__enter__()
    with ROSBAG.open(tmp_path / "bag", "bag", ImportProfile(state_entry=STATE, action_entry=STATE)) as source:
        assert (source.action[:-1] == source.qpos[1:]).all()
        assert any("next step" in guess.text for guess in source.guesses)


def test_a_recording_whose_end_is_missing_keeps_what_stands_before(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, episode_data(cameras=("cam",), size=(240, 320), steps=300))
    exported(MCAP, tmp_path / "out", episode)
    path = tmp_path / "out/one.mcap"
    content = path.read_bytes()
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    chunks = [chunk.chunk_start_offset + chunk.chunk_length for chunk in summary.chunk_indexes]
    assert len(chunks) > 1
    path.write_bytes(content[: chunks[0] + 5000])
    with MCAP_IN.open(path, "one.mcap", PLAIN) as source:
        assert 10 < source.steps < 300
        assert any("ends in the middle" in warning for warning in source.warnings)
        assert len(list(source.cameras["/camera/cam"].frames())) == source.steps


def test_a_recording_that_was_cut_before_its_first_chunk_ended_says_so(tmp_path: Path) -> None:
    exported(MCAP, tmp_path / "out", export_episode(tmp_path, episode_data(cameras=("cam",), size=(16, 16), steps=4)))
    path = tmp_path / "out/one.mcap"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(FormatError, match=r"no topic looks like the state.*; one\.mcap is damaged or ends"):
        MCAP_IN.open(path, "one.mcap", PLAIN).__enter__()


def test_json_messages_are_read(tmp_path: Path) -> None:
    path = tmp_path / "json.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schemas = {
            name: writer.register_schema(name, "jsonschema", b"{}") for name in ("foxglove.CompressedImage", "J")
        }
        image = writer.register_channel("/cam", "json", schemas["foxglove.CompressedImage"])
        joints = {topic: writer.register_channel(topic, "json", schemas["J"]) for topic in ("/state", "/action")}
        data = base64.b64encode(encode_jpeg(image_at(0))).decode()
        for step in range(5):
            stamp = {"sec": 100, "nsec": step * 10**7}
            time = 100 * 10**9 + step * 10**7
            writer.add_message(
                image, time, json.dumps({"timestamp": stamp, "data": data, "format": "jpeg"}).encode(), time
            )
            for channel in joints.values():
                values = {"timestamp": stamp, "a": {"x": step, "y": 0.5}, "b": [1, 2]}
                writer.add_message(channel, time, json.dumps(values).encode(), time)
        writer.finish()
    with MCAP_IN.open(path, "json.mcap", ImportProfile(state_entry="/state", action_entry="/action.a")) as source:
        assert source.qpos.tolist() == [[step, 0.5, 1, 2] for step in range(5)]
        assert source.action.tolist() == [[step, 0.5] for step in range(5)]
        assert source.fps == pytest.approx(100)
        assert list(source.cameras["/cam"].frames()) == [encode_jpeg(image_at(0))] * 5


@given(
    stamps=st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(sorted), ticks=st.lists(st.integers(-10, 1010))
)
def test_the_nearest_message_is_taken(stamps: list[int], ticks: list[int]) -> None:
    times, asked = np.asarray(stamps, np.int64), np.asarray(ticks, np.int64)
    for tick, place in zip(ticks, nearest_of(times, asked).tolist(), strict=True):
        assert abs(stamps[place] - tick) == min(abs(stamp - tick) for stamp in stamps)


# --- broken and hostile -----------------------------------------------------------------------------------


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    for name in ("a.mcap", "b.bag", "c.db3"):
        (tmp_path / name).write_bytes(b"nothing of the kind" * 10)
    for importer, names in ((MCAP_IN, ["a.mcap"]), (ROSBAG, ["b.bag", "c.db3"])):
        assert list(importer.episodes(tmp_path)) == names
        for name in names:
            with pytest.raises(FormatError, match=f"{name}: "):
                importer.open(tmp_path, name, PLAIN).__enter__()
    (tmp_path / "empty").mkdir()
    assert not MCAP_IN.recognises(tmp_path / "empty")
    with pytest.raises(FormatError, match="expected recordings"):
        MCAP_IN.episodes(tmp_path / "empty")


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD])
def test_a_chunk_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: CompressionType
) -> None:
    path = tmp_path / "bomb.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=compression, chunk_size=2**24)
        writer.start()
        schema = writer.register_schema("foxglove.RawImage", "jsonschema", b"{}")
        channel = writer.register_channel("/a", "json", schema)
        writer.add_message(channel, 0, b"0" * 2**22, 0)
        writer.finish()
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(bags, "MAX_CHUNK", 2**20)
    with (
        pytest.raises(FormatError, match=r"bomb\.mcap: a chunk of \d+ bytes once unpacked"),
        MCAP_IN.open(path, "bomb.mcap", ImportProfile(state_entry="/a", action_entry="/a")),
    ):
        pass


@pytest.mark.parametrize("compression", list(Writer1.CompressionFormat))
def test_a_chunk_of_a_ros_bag_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Writer1.CompressionFormat
) -> None:
    write_ros1(tmp_path / "one.bag", compression)
    monkeypatch.setattr(bags, "MAX_CHUNK", 2**12)
    with pytest.raises(FormatError, match=r"one\.bag.*once unpacked"), ROSBAG.open(tmp_path, "one.bag", PLAIN):
        pass


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_ros1(tmp_path / "outside.bag")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "one.bag").symlink_to(tmp_path / "outside.bag")
    with pytest.raises(FormatError, match="lies outside of"), ROSBAG.open(tmp_path / "source", "one.bag", PLAIN):
        pass


@pytest.mark.parametrize(("place", "value"), [(0, 0), (11, 20)])
def test_a_jpeg_of_a_sampling_without_name_is_refused(place: int, value: int) -> None:
    """In its frame header: the marker, and the sampling of its first component."""
    content = bytearray(encode_jpeg(image_at(0)))
    content[content.index(b"\xff\xc0") + place] = value
    with pytest.raises(ValueError, match="not a JPEG"):
        jpeg_size(bytes(content))


def test_a_list_of_files_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("outside", "inside"):
        write_ros2(tmp_path / name, StoragePlugin.SQLITE3)
    path = tmp_path / "inside" / "metadata.yaml"
    for named in ("../outside/outside.db3", str(tmp_path / "outside" / "outside.db3")):
        path.write_text(path.read_text().replace("inside.db3", named))
        with pytest.raises(FormatError, match=r"metadata\.yaml: .*outside\.db3 lies outside of"):
            ROSBAG.open(tmp_path / "inside", "inside", PLAIN).__enter__()
        path.write_text(path.read_text().replace(named, "inside.db3"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_byte_never_escapes_as_anything_else(tmp_path: Path, place: float, value: int) -> None:
    path = tmp_path / "out" / "one.mcap"
    if not path.exists():
        exported(MCAP, path.parent, export_episode(tmp_path, episode_data(cameras=("cam",), size=(16, 16), steps=4)))
        (tmp_path / "whole").write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    content[int(place * len(content))] = value
    path.write_bytes(content)
    with contextlib.suppress(FormatError), MCAP_IN.open(path, "one.mcap", PLAIN) as source:
        for camera in source.cameras.values():
            list(camera.frames())
