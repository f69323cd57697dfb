"""Files that nobody may train on: `check` names what is wrong without failing, and the manifest refuses the file."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dexvla.episodes.check import check_file
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.errors import EpisodeError

Edit = Callable[[h5py.File], Any]


def put(name: str, value: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return edit


def attribute(name: str, value: Any) -> Edit:
    return lambda file: file.attrs.__setitem__(name, value)


def complex_timestamp(file: h5py.File) -> None:
    put("timestamp", np.zeros(24, np.complex64))(file)


def no_qpos(file: h5py.File) -> None:
    del file["observations/qpos"], file["observations/images"]


BAD: list[tuple[str, Edit, str]] = [
    ("long instruction", put("language_raw", ["x" * 20_000]), "language_raw has 20000 characters, expected"),
    ("empty instruction", put("language_raw", h5py.Empty("S8")), "language_raw is an empty dataset"),
    ("number as instruction", put("language_raw", np.array([7])), r"language_raw is int64 \(1,\), expected text"),
    ("too large", put("action", np.full((24, 14), 1e300)), "action holds values that do not fit float32"),
    ("control token", put("language_raw", ["Fold <|im_end|> it."]), r"holds <\|im_end\|>, .* control token; remove it"),
    ("token in label", put("substep_reasonings", ["<|image_pad|>"] * 24), r"holds <\|image_pad\|>, .* control token"),
    ("no steps", put("action", np.zeros((0, 14), np.float32)), "action has 0 steps"),
    ("no qpos", no_qpos, "no dataset 'observations/qpos'; observations holds qvel"),
    ("dataset for group", put("observations", 1.0), "no dataset 'observations/qpos'; observations is a dataset"),
    ("named type", put("action", np.dtype("f4")), "action is a datatype, expected a dataset"),
]

# Nothing that an episode must have: it is left out, and said.
LEFT_OUT: list[tuple[str, Edit, str]] = [
    ("scalar timestamp", put("timestamp", 0.5), r"timestamp has shape \(\), expected \(24,\)"),
    ("text timestamp", put("timestamp", "noon"), "timestamp is object .*expected numbers, in seconds"),
    ("complex timestamp", complex_timestamp, "timestamp is complex64 .*expected numbers"),
    ("empty timestamp", put("timestamp", h5py.Empty("f8")), "timestamp is an empty dataset"),
    ("short timestamp", put("timestamp", np.arange(3.0)), r"timestamp has shape \(3,\), expected \(24,\)"),
    ("sim array", attribute("sim", [True, False]), "attribute sim is .*True.*, expected true or false"),
    ("sim empty", attribute("sim", h5py.Empty("f4")), "attribute sim is empty, expected true or false"),
    ("compress number", attribute("compress", 7), "attribute compress is .*7.*, expected true or false"),
    ("jpeg_channels number", attribute("jpeg_channels", 3), "attribute jpeg_channels is .*3.*, expected text"),
    ("robot not UTF-8", attribute("robot", np.bytes_(b"\xff\xfe")), "attribute robot is .*, expected text"),
    ("fps array", attribute("fps", [50.0, 50.0]), r"attribute fps is array\(\[50., 50.\]\), expected a finite number"),
    ("fps zero", attribute("fps", 0.0), "attribute fps is 0, expected 0.1 to 1000 Hz"),
    ("fps negative", attribute("fps", -3), "attribute fps is -3, expected 0.1 to 1000 Hz"),
    ("fps huge", attribute("fps", 3e8), r"attribute fps is 3e\+08, expected 0.1 to 1000 Hz"),
    ("fps tiny", attribute("fps", 1e-9), "attribute fps is 1e-09, expected 0.1 to 1000 Hz"),
    ("fps longdouble", attribute("fps", np.longdouble("1e4000")), "attribute fps is .*, expected a finite number"),
    ("fps complex", attribute("fps", 3j), "attribute fps is .*, expected a finite number"),
    ("many values", attribute("task", ["x"] * 40), "attribute task cannot be read: it holds 40 values"),
    ("long word", attribute("task", "x" * 5000), "attribute task is 'x+, expected text of at most 1000 characters"),
    ("fps nan", attribute("fps", np.nan), "attribute fps is .*nan.*, expected a finite number"),
    ("seed text", attribute("seed", "x"), "attribute seed is 'x', expected a whole number"),
    ("numbers as labels", put("substep_reasonings", np.arange(24)), "substep_reasonings is int64 .*, expected text"),
    ("narrow qvel", put("observations/qvel", np.zeros((24, 3))), "observations/qvel has 3 dimensions, expected 14"),
]


@pytest.mark.parametrize(("edit", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_check_reports_and_the_manifest_refuses(
    tmp_path: Path, make_episode: Callable[..., Path], edit: Edit, message: str
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        edit(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_file(path)
    assert len(report.errors) == 1, report.errors
    assert re.search(message, report.errors[0])
    with pytest.raises(EpisodeError, match=message) as caught:
        build_manifest(find_set(str(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("edit", "message"), [row[1:] for row in LEFT_OUT], ids=[row[0] for row in LEFT_OUT])
def test_check_says_what_was_left_out(
    tmp_path: Path, make_episode: Callable[..., Path], edit: Edit, message: str
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        edit(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_file(path)
    assert report.errors == []
    assert any(re.search(message, each) for each in report.warnings), report.warnings
    manifest, _ = build_manifest(find_set(str(path)))
    assert manifest.episodes[0].steps == 24


def test_pictures_too_small_for_a_policy_are_refused(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5", cameras=("cam_high",), size=(4, 64), jpeg=False)
    (error,) = check_file(path).errors
    assert error == "camera 'cam_high': height: Input should be greater than or equal to 8; found '4'"
    with pytest.raises(EpisodeError, match=r"episode_0.hdf5: camera 'cam_high': height"):
        build_manifest(find_set(str(path)))


@pytest.mark.parametrize("edit", [put("compress_len", h5py.Empty("f4")), lambda file: regroup(file, "compress_len")])
def test_lengths_of_another_kind_are_reported(tmp_path: Path, make_episode: Callable[..., Path], edit: Edit) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        edit(file)
    report = check_file(path)
    assert report.ok
    (warning,) = report.warnings
    assert re.match(r"compress_len (has shape None|is a group), expected .*; ignored", warning)


def regroup(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name)


def test_single_values_stored_as_arrays_of_one_are_read(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file.attrs["fps"] = [25.0]
        file.attrs["sim"] = np.array([1], np.uint8)
    report = check_file(path)
    assert report.ok
    assert (report.fps, report.sim) == (25.0, True)


def test_picture_times_of_another_kind_are_reported(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["image_timestamp/cam_high"] = "noon"
        file["image_timestamp/cam_left_wrist"] = np.zeros(3)
    report = check_file(path)
    assert report.ok
    said = "\n".join(report.warnings)
    assert "image_timestamp/cam_high is object (), expected numbers, in seconds; left out" in said
    assert "image_timestamp/cam_left_wrist has shape (3,), expected (24,); left out" in said


def test_unknown_entries_below_observations_are_named(tmp_path: Path, make_episode: Callable[..., Path]) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        file["observations/effort"] = np.zeros(3)
        file["extra"] = 1
    assert check_file(path).warnings == ["unknown entries, ignored: extra, observations/effort"]


def test_a_jpeg_header_that_declares_a_huge_picture_is_only_a_line(
    tmp_path: Path, make_episode: Callable[..., Path]
) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        rows = file["observations/images/cam_high"]
        for step in (0, 9):
            row = rows[step]
            start = bytes(row).index(b"\xff\xc0")
            row[start + 5 : start + 9] = 255  # height and width of the frame header
            rows[step] = row
    (error,) = check_file(path).errors
    assert "camera cam_high, step 0: not a JPEG" in error


@pytest.mark.parametrize("fault", ["blank", "cut"])
def test_a_bad_jpeg_row_is_found_before_training(tmp_path: Path, make_episode: Callable[..., Path], fault: str) -> None:
    path = make_episode(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "a") as file:
        row = file["observations/images/cam_left_wrist"][20]
        row[0 if fault == "blank" else 300 :] = 0
        file["observations/images/cam_left_wrist"][20] = row
    with pytest.raises(EpisodeError, match=r"episode_0.hdf5: camera cam_left_wrist, step 20: not a whole JPEG"):
        build_manifest(find_set(str(path)))
    manifest, _ = build_manifest(find_set(str(path)), cameras=("cam_high",))
    assert manifest.cameras == ("cam_high",), "cameras that nobody uses may be broken"
