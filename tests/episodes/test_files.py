"""Writing and reading episode files: the layout to the last key, and nothing half-written."""

import dataclasses
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dexvla.episodes.finding import find_episodes
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import load_episode, open_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import EpisodeError, EpisodeExistsError


def names_of(path: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_the_layout_is_that_of_the_upstream_example(seed_example: Path) -> None:
    layout = names_of(seed_example / "episode_0.hdf5")
    assert layout == {
        "action": (100, 10),
        "language_raw": (1,),
        "observations/images/left": (100, 480, 640, 3),
        "observations/images/right": (100, 480, 640, 3),
        "observations/images/wrist": (100, 480, 640, 3),
        "observations/joint_positions": (100, 7),
        "observations/qpos": (100, 7),
        "observations/qvel": (100, 7),
        "substep_reasonings": (100,),
        "timestamp": (100,),
    }
    with h5py.File(seed_example / "episode_0.hdf5") as file:
        assert file["action"].dtype == np.float32
        assert file["language_raw"][0].decode() == "Fold the shirt."
        assert not file.attrs["sim"]
        assert not file.attrs["compress"]


def test_jpeg_rows_are_padded_and_their_lengths_stored(seed_example: Path) -> None:
    with h5py.File(seed_example / "episode_1.hdf5") as file:
        assert file.attrs["compress"]
        lengths = file["compress_len"]
        assert lengths.shape == (3, 100)
        assert lengths.dtype == np.float32
        for camera, row in zip(("left", "right", "wrist"), lengths[:], strict=True):
            stored = file[f"observations/images/{camera}"]
            assert stored.shape == (100, max(map(int, lengths[:][("left", "right", "wrist").index(camera)])))
            assert bytes(stored[5][: int(row[5])]).endswith(b"\xff\xd9")
            assert not stored[5][int(row[5]) :].any()


def test_reading_gives_back_what_was_written(tmp_path: Path, make_data: Callable[..., EpisodeData]) -> None:
    data = make_data(jpeg=False, joint_positions=True, attributes={"success": True, "held": False, "seed": 7})
    write_episode(tmp_path / "episode_0.hdf5", data)
    with open_episode(tmp_path / "episode_0.hdf5") as episode:
        np.testing.assert_array_equal(episode.action, data.action)
        np.testing.assert_array_equal(episode.qvel, data.qvel)
        assert data.joint_positions is not None
        np.testing.assert_array_equal(episode.joint_positions, data.joint_positions)
        np.testing.assert_array_equal(episode.frame("cam_high", 23), data.images["cam_high"][23])
        assert episode.attributes == data.attributes
        assert episode.instruction == data.instruction
        assert episode.substep_reasonings == tuple(data.substep_reasonings or ())
        assert episode.label_source == "scripted"


def test_jpeg_frames_keep_their_colours(tmp_path: Path, make_data: Callable[..., EpisodeData]) -> None:
    raw, jpeg = make_data(jpeg=False), make_data(jpeg=True)
    write_episode(tmp_path / "jpeg.hdf5", jpeg)
    with open_episode(tmp_path / "jpeg.hdf5") as episode:
        difference = np.abs(
            episode.frame("cam_high", 4).astype(int) - np.asarray(raw.images["cam_high"][4]).astype(int)
        )
    assert difference.mean() < 20  # swapped channels differ by about 80 on this picture


def test_files_without_our_mark_are_read_in_opencvs_channel_order(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with open_episode(path) as episode:
        ours = episode.frame("cam_high", 0)
    with h5py.File(path, "a") as file:
        del file.attrs["jpeg_channels"]
    with open_episode(path) as episode:
        np.testing.assert_array_equal(episode.frame("cam_high", 0), ours[..., ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qpos": np.zeros((23, 14), np.float32)}, "qpos has shape (23, 14), expected (24, dimensions)"),
        ({"action": np.full((24, 14), np.nan, np.float32)}, "action holds a value that is not finite, first at step 0"),
        ({"instruction": "  "}, "instruction is empty"),
        ({"substep_reasonings": ["a"] * 3}, "3 substep reasonings for 24 steps"),
        ({"images": {}}, "at least one camera"),
        ({"images": {"cam_high": [b"\xff\xd8"] * 3}}, "camera cam_high has 3 frames for 24 steps"),
        ({"action": np.full((24, 14), 1e300)}, "action holds values that do not fit float32"),
        ({"timestamp": np.zeros(3)}, "timestamp has shape (3,)"),
    ],
)
def test_data_that_does_not_fit_together_is_refused_and_nothing_stays(
    tmp_path: Path, make_data: Callable[..., EpisodeData], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(EpisodeError) as caught:
        write_episode(tmp_path / "episode_0.hdf5", dataclasses.replace(make_data(), **change))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_episode_is_never_overwritten(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    before = path.read_bytes()
    with pytest.raises(EpisodeError, match="never overwritten"):
        make_episode(path, seed=1)
    assert path.read_bytes() == before


def test_of_recorders_that_write_the_same_name_at_once_one_wins(
    tmp_path: Path, make_data: Callable[..., EpisodeData]
) -> None:
    path = tmp_path / "episode_0.hdf5"
    barrier = threading.Barrier(6)
    won: list[int] = []
    lost: list[int] = []

    def write(seed: int, data: EpisodeData) -> None:
        barrier.wait()
        try:
            write_episode(path, data)
            won.append(seed)
        except EpisodeExistsError:
            lost.append(seed)

    threads = [threading.Thread(target=write, args=(seed, make_data(seed=seed, steps=4))) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 5
    with open_episode(path) as episode:
        np.testing.assert_array_equal(episode.action, make_data(seed=won[0], steps=4).action)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_while_an_episode_is_written_stays(
    tmp_path: Path, make_episode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flush = tmp_path / "episode_0.hdf5", os.fsync

    def appears(descriptor: int) -> None:
        flush(descriptor)
        path.write_bytes(b"another recorder's")

    monkeypatch.setattr("os.fsync", appears)
    with pytest.raises(EpisodeExistsError, match="never overwritten"):
        make_episode(path)
    assert path.read_bytes() == b"another recorder's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_will_do(
    tmp_path: Path, make_episode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*args: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    path = make_episode(tmp_path / "episode_0.hdf5", steps=3)
    with open_episode(path) as episode:
        assert episode.steps == 3
    with pytest.raises(EpisodeExistsError):
        make_episode(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, make_episode: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dexvla.files.fsync_path", full)
    with pytest.raises(OSError, match="No space left"):
        make_episode(tmp_path / "episode_0.hdf5")
    assert list(tmp_path.iterdir()) == []


def break_file(path: Path, how: str) -> None:
    if how == "text":
        path.write_text("this is not HDF5")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        with h5py.File(path, "a") as file:
            if how == "no_action":
                del file["action"]
            elif how == "no_cameras":
                del file["observations/images"]
            elif how == "text_action":
                del file["action"]
                file["action"] = "abc"
            elif how == "short_qpos":
                del file["observations/qpos"]
                file["observations/qpos"] = np.zeros((3, 14), np.float32)
            elif how == "external_link":
                del file["action"]
                file["action"] = h5py.ExternalLink("/etc/hostname", "/")
            elif how == "soft_link":
                file.move("action", "other")
                file["action"] = h5py.SoftLink("/other")
            elif how == "huge":
                del file["action"]
                file.create_dataset("action", shape=(2**40, 14), dtype=np.float32, chunks=(1024, 14))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("text", "not a readable HDF5 file"),
        ("truncated", "not a readable HDF5 file"),
        ("no_action", "no dataset 'action'; found"),
        ("no_cameras", "no cameras below observations/images"),
        ("text_action", "expected numbers of shape"),
        ("short_qpos", "observations/qpos has 3 rows, action has 24"),
        ("external_link", "ExternalLink; links are refused"),
        ("soft_link", "SoftLink; links are refused"),
        ("huge", "more than 256 MiB at once; refused"),
    ],
)
def test_a_foreign_or_damaged_file_is_one_clear_line(
    tmp_path: Path, make_episode: Callable[..., Path], how: str, message: str
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    break_file(path, how)
    with pytest.raises(EpisodeError) as caught:
        load_episode(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_picture_says_where(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["observations/images/cam_high"][7] = 0
    with open_episode(path) as episode, pytest.raises(EpisodeError, match=r"camera cam_high, step 7: .* JPEG"):
        episode.frame("cam_high", 7)


def test_episodes_are_found_in_natural_order(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    for number in (10, 2, 1):
        make_episode(tmp_path / "sub" / f"episode_{number}.hdf5", steps=2)
    assert [path.stem for path in find_episodes(tmp_path)] == ["episode_1", "episode_2", "episode_10"]
    with pytest.raises(EpisodeError, match="no such folder"):
        find_episodes(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EpisodeError, match=r"no \*\.hdf5 files"):
        find_episodes(tmp_path / "empty")


def test_lengths_of_rows_belong_to_their_cameras_whatever_they_are_called(
    tmp_path: Path, make_data: Callable[..., EpisodeData]
) -> None:
    """In the file "cam wrist" stands before "cam_high", with us it is cam_wrist and comes after."""
    data = make_data(cameras=("cam_high", "cam wrist"), size=(48, 64))
    images = {**data.images, "cam wrist": [encode_jpeg(np.full((48, 64, 3), 9, np.uint8))] * 24}
    path = tmp_path / "named.hdf5"
    write_episode(path, dataclasses.replace(data, images=images))
    with open_episode(path) as episode:
        lengths = episode.row_lengths()
        assert lengths is not None
        for stored, name in (("cam wrist", "cam_wrist"), ("cam_high", "cam_high")):
            assert lengths[name].tolist() == [len(frame) for frame in images[stored]]
