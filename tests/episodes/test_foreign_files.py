"""Files as other people's tools write them are read to the right values, and what is left out is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dexvla.episodes.cameras import Blocks
from dexvla.episodes.check import check_file
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from tests.support.foreign_files import (
    CAMERA,
    DIMENSIONS,
    STEPS,
    Edit,
    attribute,
    byte_arrays,
    byte_strings,
    drop,
    foreign_file,
    frames,
    opaque,
    opencv_jpeg,
    png,
    put,
    put_rows,
    rows_of,
)

Read = Callable[[Any], Any]


def opencv_png(image: Any) -> bytes:
    return png(image, swapped=True)


@pytest.mark.parametrize(
    "edits",
    [
        (rows_of(opencv_jpeg), attribute("compress", True)),
        (rows_of(opencv_jpeg), lambda file: file.attrs.__delitem__("compress")),
        (rows_of(opencv_jpeg), attribute("compress", "nonsense")),
        (byte_strings(opencv_jpeg),),
        (byte_arrays(opencv_jpeg),),
        (opaque(opencv_jpeg),),
        (rows_of(encode_jpeg), attribute("jpeg_channels", "rgb")),
    ],
    ids=["rows", "rows without attribute", "rows with a wrong attribute", "S", "vlen", "opaque", "marked"],
)
def test_jpeg_rows_however_they_are_stored(tmp_path: Path, edits: tuple[Edit, ...]) -> None:
    with open_episode(foreign_file(tmp_path / "a.hdf5", *edits)) as episode:
        assert episode.is_jpeg("cam_high")
        assert episode.frame_size("cam_high") == (48, 64)
        for step, frame in enumerate(frames()):
            difference = np.abs(episode.frame("cam_high", step).astype(int) - frame.astype(int))
            assert difference.mean() < 12  # red and blue the wrong way round differ by 140
        assert bytes(episode.stored_frame("cam_high", 3)).startswith(b"\xff\xd8")


def floats(image: Any) -> Any:
    return image.astype(np.float32) / 255


@pytest.mark.parametrize(
    ("edits", "warning"),
    [
        ((rows_of(opencv_png), attribute("compress", True)), None),
        ((rows_of(opencv_png),), None),
        ((byte_strings(opencv_png),), None),
        ((byte_arrays(opencv_png),), None),
        ((rows_of(png), attribute("jpeg_channels", "rgb"), attribute("compress", False)), None),
        ((put(CAMERA, frames().transpose(0, 3, 1, 2)),), "its channels come first and are put last"),
        ((put(CAMERA, floats(frames())),), "0 to 1, are rounded"),
        (
            (put(CAMERA, floats(frames()).transpose(0, 3, 1, 2)),),
            "its channels come first and are put last, its float32",
        ),
        ((put(CAMERA, frames().astype(np.float64)),), "0 to 255, are rounded"),
        ((put(CAMERA, frames().astype(np.int64)),), "its int64 values become uint8"),
        ((put(CAMERA, np.pad(frames(), [(0, 0)] * 3 + [(0, 1)])),), "its fourth channel is not kept"),
        ((put(CAMERA, np.concatenate([frames(), frames()[:1]])),), "has 13 frames, action has 12"),
        ((drop(CAMERA), put(f"{CAMERA}/rgb", frames())), "is a group; its dataset rgb is read"),
        (
            (drop(CAMERA), put(f"{CAMERA}/color", frames()), put(f"{CAMERA}/depth", np.zeros(12))),
            "depth beside it left out",
        ),
    ],
)
def test_pixels_come_out_bit_by_bit(tmp_path: Path, edits: tuple[Edit, ...], warning: str | None) -> None:
    path = foreign_file(tmp_path / "a.hdf5", *edits)
    with open_episode(path) as episode:
        assert not episode.is_jpeg("cam_high")
        assert episode.frame_size("cam_high", 4) == (48, 64)
        for step, frame in enumerate(frames()):
            np.testing.assert_array_equal(episode.frame("cam_high", step), frame)
        if warning is None:
            assert episode.warnings == ()
        else:
            assert warning in " ".join(episode.warnings)
    assert check_file(path).ok


def test_each_camera_is_read_by_itself(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "a.hdf5", attribute("compress", True), rows_of(opencv_jpeg, "cam_wrist"))
    with open_episode(path) as episode:
        assert episode.cameras == ("cam_high", "cam_wrist")
        assert [episode.is_jpeg(camera) for camera in episode.cameras] == [False, True]
        np.testing.assert_array_equal(episode.frame("cam_high", 5), frames()[5])
        assert np.abs(episode.frame("cam_wrist", 5).astype(int) - frames()[5].astype(int)).mean() < 12


def grey(file: h5py.File) -> None:
    put(CAMERA, frames()[..., 0])(file)


def test_a_grey_camera_has_three_equal_channels(tmp_path: Path) -> None:
    with open_episode(foreign_file(tmp_path / "a.hdf5", grey)) as episode:
        np.testing.assert_array_equal(episode.frame("cam_high", 2), frames()[2][..., :1].repeat(3, axis=2))
        assert "it is grey" in episode.warnings[0]


DEPTH = np.full((STEPS, 48, 64), 1500, np.uint16)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cam_high_depth", DEPTH),
        ("cam_high_depth", DEPTH.astype(np.uint8)),
        ("cam_range", DEPTH),
        ("cam_range", DEPTH.astype(np.float32)[..., None]),
        ("notes", "a text"),
        ("cam_wide", np.zeros((STEPS, 48, 64, 7), np.uint8)),
    ],
)
def test_what_is_no_image_is_left_out_beside_one(tmp_path: Path, name: str, value: Any) -> None:
    path = foreign_file(tmp_path / "a.hdf5", put(f"observations/images/{name}", value))
    report = check_file(path)
    assert report.ok, report.errors
    assert list(report.cameras) == ["cam_high"]
    assert any(f"camera {name} " in warning and warning.endswith("left out") for warning in report.warnings)


def test_depth_as_png_is_no_image(tmp_path: Path) -> None:
    rows = [png(np.full((48, 64), step, np.uint16)) for step in range(STEPS)]  # type: ignore[arg-type]
    path = foreign_file(tmp_path / "a.hdf5", lambda file: put_rows(file["observations/images"], "cam_far", rows))
    with open_episode(path) as episode:
        assert episode.cameras == ("cam_high",)
        assert "camera cam_far holds PNG rows of depth" in episode.warnings[0]


def test_a_camera_of_other_steps_is_refused(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "a.hdf5", put("observations/images/cam_wrist", frames()[:5]))
    with (
        pytest.raises(EpisodeError, match=r"camera cam_wrist is uint8 \(5, 48, 64, 3\), expected .* with T = 12"),
        open_episode(path),
    ):
        pass


def test_rows_that_are_no_images_are_refused(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "a.hdf5", put(CAMERA, np.full((STEPS, 500), 7, np.uint8)))
    with (
        pytest.raises(EpisodeError, match="its rows begin with 07 07 07 07 07 07 07 07: no JPEG and no PNG"),
        open_episode(path),
    ):
        pass


# (what is done to the file, how the episode is read, the value, a part of the warning)
KINDS: dict[str, tuple[Edit, Read, Any, str | None]] = {
    "reasoning per step": (
        put("reasoning", ["Pick up."] * 6 + ["Place."] * 6),
        lambda e: e.substep_reasonings,
        ("Pick up.",) * 6 + ("Place.",) * 6,
        None,
    ),
    "one reasoning": (put("reasoning", ["Pick up."]), lambda e: e.substep_reasonings, ("Pick up.",) * 12, None),
    "some reasonings": (put("reasoning", ["a"] * 5), lambda e: e.substep_reasonings, None, "5 reasoning for 12 steps"),
    "labels of another length": (
        put("substep_reasonings", ["a"] * 9),
        lambda e: e.substep_reasonings,
        None,
        "9 substep_reasonings for 12 steps; the labels are left out",
    ),
    "labels of numbers": (put("substep_reasonings", np.arange(12)), lambda e: e.substep_reasonings, None, "left out"),
    "wordings": (
        put("language_raw", ["pick it", "grab it", "take it", "pick it"]),
        lambda e: (e.instruction, e.paraphrases),
        ("pick it", ("grab it", "take it")),
        "holds 3 wordings",
    ),
    "the same at each step": (
        put("language_raw", ["pick it"] * 12),
        lambda e: (e.instruction, e.paraphrases),
        ("pick it", ()),
        None,
    ),
    "one text without a list": (put("language_raw", "pick it"), lambda e: e.instruction, "pick it", None),
    "cut text": (
        put("language_raw", np.array(["把红色方块放到".encode()[:20]])),
        lambda e: e.instruction,
        "把红色方块放",
        "ends in the middle of a character",
    ),
    "all scripts": (
        put("language_raw", ["Räume den Tisch ab 🍽️ — 把"]),
        lambda e: e.instruction,
        "Räume den Tisch ab 🍽️ — 把",
        None,
    ),
    "long task": (attribute("task", "Pick up " + "x" * 90), lambda e: e.attributes.task, "Pick up " + "x" * 90, None),
    "fps text": (attribute("fps", "50"), lambda e: e.attributes.fps, 50.0, None),
    "fps bytes": (attribute("fps", np.bytes_(b"50 Hz")), lambda e: e.attributes.fps, 50.0, None),
    "fps array": (attribute("fps", np.array([30])), lambda e: e.attributes.fps, 30.0, None),
    "fps word": (attribute("fps", "fast"), lambda e: e.attributes.fps, None, "attribute fps is 'fast', expected"),
    "seed float": (attribute("seed", 3.0), lambda e: e.attributes.seed, 3, None),
    "seed text": (attribute("seed", "12"), lambda e: e.attributes.seed, 12, None),
    "seed half": (attribute("seed", 3.5), lambda e: e.attributes.seed, None, "attribute seed is"),
    "sim text": (attribute("sim", "False"), lambda e: e.sim, False, None),
    "sim float": (attribute("sim", 1.0), lambda e: e.sim, True, None),
    "success text": (attribute("success", b"true"), lambda e: e.attributes.success, True, None),
    "robot number": (attribute("robot", 7), lambda e: e.attributes.robot, None, "attribute robot is"),
    "qvel NaN": (
        put("observations/qvel", np.full((12, 7), np.nan)),
        lambda e: (e.has_qvel, e.qvel.any()),
        (False, False),
        "84 values that are NaN or infinite; left out",
    ),
    "qvel narrow": (
        put("observations/qvel", np.ones((12, 3))),
        lambda e: (e.has_qvel, e.qvel.any()),
        (False, False),
        "has 3 dimensions, expected 7 as qpos",
    ),
    "joint positions": (
        put("observations/joint_positions", np.zeros((13, 7))),
        lambda e: e.joint_positions,
        None,
        "has 13 rows, action has 12; left out",
    ),
    "compress_len": (
        lambda file: (rows_of(opencv_jpeg)(file), put("compress_len", np.zeros((4, 17)))(file)),
        lambda e: e.row_lengths(),
        None,
        "compress_len has shape (4, 17), expected (1, 12); ignored",
    ),
    "times in columns": (
        put("timestamp", np.arange(12)[:, None] / 50),
        lambda e: e.timestamp.tolist(),
        (np.arange(12) / 50).tolist(),
        None,
    ),
    "times of another length": (put("timestamp", np.arange(5.0)), lambda e: e.timestamp, None, "shape (5,), expected"),
    "times in nanoseconds": (
        put("timestamp", 1_700_000_000_000_000_000 + np.arange(12) * 20_000_000),
        lambda e: e.timestamp.tolist(),
        (np.arange(12) * 20_000_000 / 1e9).tolist(),
        "nanoseconds since 1970",
    ),
    "times with a NaN": (
        put("timestamp", np.append(np.arange(11) / 50, np.nan)),
        lambda e: e.timestamp,
        None,
        "1 of 12 time stamps are not finite, first at step 11; left out",
    ),
    "base": (put("base_action", np.ones((12, 2))), lambda e: e.base_action.shape, (12, 2), "the motion of the base"),
    "depth group": (
        put("observations/images_depth/cam_high", DEPTH),
        lambda e: e.cameras,
        ("cam_high",),
        "depth images are left out (observations/images_depth: cam_high)",
    ),
    "camera name": (
        lambda file: file.move(CAMERA, "observations/images/cam high ü"),
        lambda e: e.cameras,
        ("cam_high_u",),
        "camera 'cam high ü' is kept as 'cam_high_u'",
    ),
    "soft link": (
        lambda file: file.__setitem__("observations/state", h5py.SoftLink("/observations/qpos")),
        lambda e: e.steps,
        12,
        "soft links are never followed; left out: observations/state",
    ),
    "soft link for an extra": (
        lambda file: (drop("observations/qvel")(file), file.__setitem__("observations/qvel", h5py.SoftLink("/action"))),
        lambda e: e.has_qvel,
        False,
        "soft links are never followed; left out: observations/qvel",
    ),
}


@pytest.mark.parametrize(("edit", "read", "value", "warning"), KINDS.values(), ids=KINDS)
def test_a_kind_of_file_is_read_to_its_value(
    tmp_path: Path, edit: Edit, read: Read, value: Any, warning: str | None
) -> None:
    path = foreign_file(tmp_path / "a.hdf5", edit)
    with open_episode(path) as episode:
        found = read(episode)
        assert found is value if value is None else found == value
        said = " | ".join(episode.warnings)
    assert warning in said if warning else said == ""
    report = check_file(path)
    assert report.ok, report.errors
    assert warning is None or any(warning in each for each in report.warnings)


@pytest.mark.parametrize("name", ["language_instruction", "instruction", "task_description"])
@pytest.mark.parametrize("place", ["attribute", "dataset"])
def test_an_instruction_stands_in_other_places(tmp_path: Path, name: str, place: str) -> None:
    given = attribute(name, "pick it") if place == "attribute" else put(name, ["pick it"])
    with open_episode(foreign_file(tmp_path / "a.hdf5", drop("language_raw"), given)) as episode:
        assert episode.instruction == "pick it"
        assert episode.warnings == (f"the instruction was taken from the {place} {name}: 'pick it'",)


def test_observations_of_one_step_more_lose_the_last(tmp_path: Path) -> None:
    def more(file: h5py.File) -> None:
        for name in ("observations/qpos", "observations/qvel", CAMERA):
            put(name, np.concatenate([file[name][:], file[name][-1:]]))(file)
        put("observations/joint_positions", np.arange(13 * 7.0).reshape(13, 7))(file)

    plain = foreign_file(tmp_path / "plain.hdf5")
    with open_episode(foreign_file(tmp_path / "more.hdf5", more)) as episode, open_episode(plain) as expected:
        np.testing.assert_array_equal(episode.qpos, expected.qpos)
        np.testing.assert_array_equal(episode.qvel, expected.qvel)
        assert episode.joint_positions is not None
        assert episode.joint_positions.shape == (STEPS, DIMENSIONS)
        assert "observations have 13 steps, action has 12; the last observation is left out" in episode.warnings


@pytest.mark.parametrize("frames_kept", [STEPS, STEPS + 1])
def test_an_action_more_than_observations_is_the_last(tmp_path: Path, frames_kept: int) -> None:
    action = np.arange((STEPS + 1) * 7, dtype=np.float32).reshape(STEPS + 1, 7)
    pixels = np.zeros((frames_kept, 48, 64, 3), np.uint8)
    path = foreign_file(tmp_path / "a.hdf5", put("action", action), put(CAMERA, pixels))
    with open_episode(path) as episode:
        assert episode.steps == len(episode.qpos) == STEPS
        np.testing.assert_array_equal(episode.action, action[:-1])
        assert "action has 13 steps, observations have 12; the last action is left out" in episode.warnings
    two = foreign_file(tmp_path / "b.hdf5", put("action", np.zeros((STEPS + 2, 7), np.float32)))
    with pytest.raises(EpisodeError, match="observations/qpos has 12 rows, action has 14"), open_episode(two):
        pass


@pytest.mark.parametrize("name", ["action", "observations/qpos", "observations/images/cam_wrist"])
def test_no_soft_link_stands_for_what_an_episode_must_have(tmp_path: Path, name: str) -> None:
    def link(file: h5py.File) -> None:
        if name in file:
            file.move(name, "elsewhere")
        file[name] = h5py.SoftLink("/elsewhere" if "elsewhere" in file else f"/{CAMERA}")

    path = foreign_file(tmp_path / "a.hdf5", link)
    with pytest.raises(EpisodeError, match=f"{name} is a SoftLink; links are refused"), open_episode(path):
        pass


def test_a_broken_end_is_offered_to_be_cut(tmp_path: Path) -> None:
    def cut(file: h5py.File) -> None:
        rows_of(opencv_jpeg)(file)
        file[CAMERA][10:] = 0

    (error,) = check_file(foreign_file(tmp_path / "a.hdf5", cut, attribute("compress", True))).errors
    assert error == (
        "2 frames of cam_high cannot be decoded, first at step 10: not a JPEG: it is empty; steps 0..9 are whole: an "
        "import keeps them (--keep-good-steps)"
    )


def test_the_same_rows_in_two_orders_of_colours_are_two_episodes(tmp_path: Path) -> None:
    jpeg = (rows_of(encode_jpeg), attribute("compress", True))
    plain = foreign_file(tmp_path / "plain.hdf5", *jpeg)
    marked = foreign_file(tmp_path / "marked.hdf5", *jpeg, attribute("jpeg_channels", "rgb"))
    camera = foreign_file(
        tmp_path / "camera.hdf5", *jpeg, lambda file: file[CAMERA].attrs.__setitem__("jpeg_channels", "rgb")
    )
    with open_episode(plain) as one, open_episode(marked) as other, open_episode(camera) as third:
        assert episode_identity(one) != episode_identity(other)
        assert episode_identity(other) == episode_identity(third)
        np.testing.assert_array_equal(one.frame("cam_high", 1), other.frame("cam_high", 1)[..., ::-1])
        np.testing.assert_array_equal(third.frame("cam_high", 1), other.frame("cam_high", 1))


@pytest.mark.parametrize("chunks", [(5, 12, 16, 1), (12, 48, 64, 1), (1, 48, 64, 3), (7, 48, 64, 3)])
def test_packed_chunks_of_several_steps_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...]
) -> None:
    def pack(file: h5py.File) -> None:
        del file[CAMERA]
        file.create_dataset(CAMERA, data=frames(), chunks=chunks, compression="gzip", compression_opts=9)

    unpacked: list[int] = []
    row = Blocks.row

    def counting(self: Blocks, dataset: h5py.Dataset, step: int) -> Any:
        before = {name: first for name, (first, _) in self._kept.items()}
        found = row(self, dataset, step)
        if {name: first for name, (first, _) in self._kept.items()} != before:
            unpacked.append(step)
        return found

    monkeypatch.setattr(Blocks, "row", counting)
    with open_episode(foreign_file(tmp_path / "a.hdf5", pack)) as episode:
        for step, frame in enumerate(frames()):
            np.testing.assert_array_equal(episode.frame("cam_high", step), frame)
        assert unpacked == ([] if chunks[0] == 1 else list(range(0, STEPS, chunks[0])))
        for step in (11, 0, 6):
            np.testing.assert_array_equal(episode.frame("cam_high", step), frames()[step])


def test_files_of_other_endings_and_folders_are_found(tmp_path: Path) -> None:
    from dexvla.episodes.finding import find_episodes

    for name in ("b/episode_10.h5", "b/episode_9.HDF5", "a/c/one.hdf5", ".hidden.hdf5", "note.txt"):
        foreign_file(tmp_path / name)
    found = [path.relative_to(tmp_path).as_posix() for path in find_episodes(tmp_path)]
    assert found == ["a/c/one.hdf5", "b/episode_9.HDF5", "b/episode_10.h5"]
