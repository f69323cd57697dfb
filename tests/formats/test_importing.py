"""An import writes whole episodes of our own layout, applies its profile, and says what it did and did not do."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dexvla.commands.importing import read_table
from dexvla.episodes.check import check_file
from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.episodes.streaming import CameraStream, stream_episode
from dexvla.episodes.writer import write_episode
from dexvla.errors import UserError
from dexvla.formats.base import FormatError
from dexvla.formats.importing import ImportedEpisode, ImportReport, RefusedEpisode, import_source
from dexvla.spec import ImportProfile
from tests.support.foreign_files import (
    CAMERA,
    STEPS,
    attribute,
    drop,
    foreign_file,
    frames,
    opencv_jpeg,
    png,
    put,
    rows_of,
)


def run(source: Path, out: Path, **profile: Any) -> ImportReport:
    return import_source(source, out, ImportProfile.model_validate(profile))


def imported(source: Path, out: Path, **profile: Any) -> ImportedEpisode:
    report = run(source, out, **profile)
    assert report.refused == []
    (one,) = report.imported
    assert check_file(one.file).ok
    return one


def refused(source: Path, out: Path, **profile: Any) -> RefusedEpisode:
    report = run(source, out, **profile)
    assert report.imported == []
    assert [path for path in out.rglob("*") if path.is_file()] == []
    (one,) = report.refused
    return one


@pytest.mark.parametrize("jpeg", [True, False])
def test_our_own_file_stays_the_same_episode(tmp_path: Path, make_data: Callable[..., EpisodeData], jpeg: bool) -> None:
    source = tmp_path / "a.hdf5"
    write_episode(source, make_data(jpeg=jpeg, joint_positions=True, attributes={"success": True, "seed": 3}))
    one = imported(source, tmp_path / "out")
    assert (one.warnings, one.guesses, one.steps) == ((), (), 24)
    with open_episode(source) as before, open_episode(one.file) as after:
        assert episode_identity(before) == episode_identity(after)
        assert before.attributes == after.attributes
        assert before.substep_reasonings == after.substep_reasonings
        assert after.label_source == "scripted"


def test_a_foreign_file_becomes_one_of_ours(tmp_path: Path) -> None:
    source = foreign_file(
        tmp_path / "demo_3.h5",
        rows_of(opencv_jpeg, "cam_wrist"),
        put("reasoning", ["Pick up."] * 6 + ["Place."] * 6),
        put("language_raw", ["pick it", "grab it"]),
    )
    one = imported(source, tmp_path / "out")
    assert one.file == tmp_path / "out" / "demo_3.hdf5"
    assert one.source == str(source)
    with open_episode(source) as before, open_episode(one.file) as after:
        assert episode_identity(before) == episode_identity(after)
        assert (after.instruction, after.paraphrases) == ("pick it", ("grab it",))
        assert after.substep_reasonings == ("Pick up.",) * 6 + ("Place.",) * 6
        assert after.label_source == "imported"
        assert after.row_lengths() is not None


def test_a_file_without_an_instruction_is_refused_with_what_to_give(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "fold_the_shirt" / "demo_3.hdf5", drop("language_raw"))
    reason = refused(source, tmp_path / "out").reason
    assert all(word in reason for word in ("--instruction TEXT", "--instruction-from folder", "--instruction-table"))


@pytest.mark.parametrize(
    ("profile", "instruction"),
    [
        ({"instruction": "Fold it."}, "Fold it."),
        ({"instruction_from": "folder"}, "fold the shirt"),
        ({"instruction_from": "table", "instruction_table": {"demo_03": "From the table."}}, "From the table."),
        ({"instruction_table": {"fold_the_shirt": "By folder."}}, "By folder."),
        ({"instruction_table": {"3": "By number."}}, "By number."),
        ({"instruction_table": {"demo_9": "Another."}, "instruction": "Else."}, "Else."),
    ],
)
def test_an_instruction_comes_from_where_the_profile_says(
    tmp_path: Path, profile: dict[str, Any], instruction: str
) -> None:
    source = foreign_file(tmp_path / "fold_the_shirt" / "demo_03.hdf5", drop("language_raw"))
    with open_episode(imported(source, tmp_path / "out", **profile).file) as episode:
        assert episode.instruction == instruction


def test_a_text_goes_before_the_file_only_where_it_is_wanted(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "a.hdf5")
    for number, (place, expected) in enumerate([("file", "pick up the cube"), ("text", "Other.")]):
        one = imported(source, tmp_path / str(number), instruction="Other.", instruction_from=place)
        with open_episode(one.file) as episode:
            assert episode.instruction == expected


@pytest.mark.parametrize(("colours", "swapped"), [("rgb", False), ("bgr", True), (None, True)])
@pytest.mark.parametrize("kind", ["jpeg", "png", "pixels"])
def test_colours_are_as_the_profile_says(tmp_path: Path, colours: str | None, swapped: bool, kind: str) -> None:
    """True-colour images. Rows without a mark count as OpenCV's, pixels as RGB."""
    edits = {"jpeg": rows_of(encode_jpeg), "png": rows_of(png), "pixels": put(CAMERA, frames())}
    one = imported(foreign_file(tmp_path / "a.hdf5", edits[kind]), tmp_path / "out", colours=colours)
    if kind == "pixels" and colours is None:
        swapped = False
    with open_episode(one.file) as episode:
        assert episode.is_jpeg("cam_high") == (kind == "jpeg")
        seen = episode.frame("cam_high", 4)[..., ::-1] if swapped else episode.frame("cam_high", 4)
        if kind == "jpeg":
            assert np.abs(seen.astype(int) - frames()[4].astype(int)).mean() < 12
            assert bytes(episode.stored_frame("cam_high", 4)).rstrip(b"\0") == encode_jpeg(frames()[4])
        else:
            np.testing.assert_array_equal(seen, frames()[4])
    assert bool(one.guesses) == (colours is None and kind != "pixels")


def test_cameras_have_their_own_order_of_colours_and_names(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "a.hdf5", rows_of(encode_jpeg, "left"), rows_of(encode_jpeg, "right"))
    cameras = [{"source": "right", "name": "cam_right"}, {"source": "left", "name": "cam_left", "colours": "rgb"}]
    one = imported(source, tmp_path / "out", cameras=cameras)
    assert one.cameras == ("cam_right", "cam_left")
    with open_episode(one.file) as episode:
        assert episode.cameras == ("cam_left", "cam_right")
        np.testing.assert_array_equal(episode.frame("cam_left", 3), episode.frame("cam_right", 3)[..., ::-1])
    assert "right" in one.guesses[0]
    assert "left" not in one.guesses[0]
    missing = refused(source, tmp_path / "none", cameras=[{"source": "top"}])
    assert missing.reason == "no camera 'top'; it has 'cam_high', 'left', 'right'"


def broken_end(file: h5py.File) -> None:
    rows_of(opencv_jpeg)(file)
    file[CAMERA][9:] = 0


def spoilt_end(file: h5py.File) -> None:
    """Rows that begin and end as a JPEG of the right size, and whose image stops in its middle."""
    rows_of(opencv_jpeg)(file)
    for step in range(9, 12):
        row = file[CAMERA][step].tobytes().rstrip(b"\0")
        scan = row.index(b"\xff\xda")
        half = row[: (scan + len(row)) // 2].rstrip(b"\xff") + b"\xff\xd9"
        file[CAMERA][step] = np.frombuffer(half.ljust(file[CAMERA].shape[1], b"\0"), np.uint8)


def nan_end(file: h5py.File) -> None:
    file["action"][9:] = np.nan


@pytest.mark.parametrize("edit", [broken_end, spoilt_end, nan_end])
def test_a_broken_end_is_cut_off_where_that_is_wanted(tmp_path: Path, edit: Callable[[h5py.File], None]) -> None:
    source = foreign_file(tmp_path / "a.hdf5", edit, put("substep_reasonings", ["a"] * 8 + ["b"] * 4))
    reason = refused(source, tmp_path / "none")
    assert any(word in reason.reason for word in ("first at step 9", "step 9: empty", "step 9: Corrupt JPEG")), reason
    assert "keep steps 0..8" in reason.reason
    assert reason.keep_steps == 9
    one = imported(source, tmp_path / "out", keep_good_steps=True)
    assert one.steps == 9
    assert any("steps 9 to 11 of 12 are broken" in warning for warning in one.warnings)
    with open_episode(source) as before, open_episode(one.file) as after:
        np.testing.assert_array_equal(after.action, before.action[:9])
        np.testing.assert_array_equal(after.frame("cam_high", 8), before.frame("cam_high", 8))
        assert after.substep_reasonings == ("a",) * 8 + ("b",)


def test_nothing_is_kept_of_an_episode_without_a_whole_step(tmp_path: Path) -> None:
    def cut(file: h5py.File) -> None:
        rows_of(lambda image: opencv_jpeg(image)[:-40])(file)

    one = refused(foreign_file(tmp_path / "a.hdf5", cut), tmp_path / "out", keep_good_steps=True)
    assert "step 0: not a whole JPEG" in one.reason
    assert "nothing can be kept" in one.reason


def test_values_that_are_not_finite_in_between_are_refused(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "a.hdf5", lambda file: file["observations/qpos"].__setitem__((3, 2), np.inf))
    one = refused(source, tmp_path / "out", keep_good_steps=True)
    assert "qpos holds values that are not finite, first at step 3, and finite ones after it" in one.reason


def test_dimensions_units_and_grippers(tmp_path: Path) -> None:
    values = np.arange(STEPS * 7, dtype=np.float32).reshape(STEPS, 7)
    source = foreign_file(tmp_path / "a.hdf5", put("action", values), put("observations/qpos", values + 1))
    gripper = {"dimension": 2, "closed": 10, "opened": 110}
    one = imported(source, tmp_path / "out", state=[0, 3, 6], action=[1, 2, 6], angles="degrees", grippers=[gripper])
    with open_episode(one.file) as episode:
        exact = values.astype(np.float64)
        expected = np.stack([np.deg2rad(exact[:, 1]), np.deg2rad(exact[:, 2]), (exact[:, 6] - 10) / 100], 1)
        np.testing.assert_array_equal(episode.action, expected.astype(np.float32))
        expected = np.stack([np.deg2rad(exact[:, 0] + 1), np.deg2rad(exact[:, 3] + 1), (exact[:, 6] - 9) / 100], 1)
        np.testing.assert_array_equal(episode.qpos, expected.astype(np.float32))
        with open_episode(source) as before:
            np.testing.assert_allclose(episode.qvel[:, 2], before.qvel[:, 6] / 100, rtol=1e-6)
    assert "action dimensions [9] are asked for, it has 0 to 6" in refused(source, tmp_path / "no", action=[9]).reason


@pytest.mark.parametrize("shift", [2, -3])
def test_actions_are_moved(tmp_path: Path, shift: int) -> None:
    source = foreign_file(tmp_path / "a.hdf5", put("timestamp", np.arange(STEPS) / 50))
    one = imported(source, tmp_path / "out", action_shift=shift)
    assert one.steps == STEPS - abs(shift)
    first = max(-shift, 0)
    with open_episode(source) as before, open_episode(one.file) as after:
        for step in range(one.steps):
            np.testing.assert_array_equal(after.action[step], before.action[first + step + shift])
            np.testing.assert_array_equal(after.qpos[step], before.qpos[first + step])
            np.testing.assert_array_equal(after.frame("cam_high", step), before.frame("cam_high", first + step))
        assert after.timestamp is not None
        assert after.timestamp[0] == first / 50


def test_the_motion_of_the_base_is_named_and_appended_where_wanted(tmp_path: Path) -> None:
    base = np.arange(STEPS * 2, dtype=np.float32).reshape(STEPS, 2)
    source = foreign_file(tmp_path / "a.hdf5", put("base_action", base))
    assert imported(source, tmp_path / "without").warnings[0].startswith("the motion of the base is not part")
    one = imported(source, tmp_path / "with", append_base=True)
    assert not any("base" in warning for warning in one.warnings)
    with open_episode(one.file) as episode:
        assert episode.action.shape == (STEPS, 9)
        np.testing.assert_array_equal(episode.action[:, 7:], base)


def test_a_rate_is_of_one_episode_and_a_guess_is_told(tmp_path: Path) -> None:
    foreign_file(tmp_path / "in" / "0.hdf5", put("timestamp", np.arange(STEPS) / 30))
    foreign_file(tmp_path / "in" / "1.hdf5")
    foreign_file(tmp_path / "in" / "2.hdf5", attribute("fps", "25"))
    report = run(tmp_path / "in", tmp_path / "out")
    found = []
    for one in report.imported:
        with open_episode(one.file) as episode:
            found.append((episode.attributes.fps, episode.attributes.fps_guessed))
    assert found == [(30.0, True), (None, None), (25.0, None)]
    assert "30 Hz, guessed from the time stamps" in report.imported[0].guesses[0]
    assert any(text.startswith("guessed: fps: 30 Hz") for text in report.imported[0].to_json()["warnings"])
    assert any("how many steps a second" in text for text in report.imported[1].warnings)
    with open_episode(run(tmp_path / "in", tmp_path / "told", fps=40).imported[0].file) as episode:
        assert (episode.attributes.fps, episode.attributes.fps_guessed) == (40.0, None)


def test_one_broken_episode_among_good_ones_is_left_out(tmp_path: Path) -> None:
    for name in ("a/0.hdf5", "a/2.h5", "b/0.HDF5"):
        foreign_file(tmp_path / "in" / name)
    (tmp_path / "in" / "a" / "1.hdf5").write_bytes(b"not HDF5")
    foreign_file(tmp_path / "in" / "b" / "1.hdf5", drop("observations/qpos"))
    told: list[tuple[int, int, str]] = []
    profile = ImportProfile.model_validate({})
    out = tmp_path / "out"
    report = import_source(
        tmp_path / "in", out, profile, on_episode=lambda done, total, one: told.append((done, total, one.source))
    )
    files = [one.file.relative_to(out).as_posix() for one in report.imported]
    assert files == ["a/episode_0.hdf5", "a/episode_2.hdf5", "b/episode_0.hdf5"]
    assert [Path(one.source).name for one in report.refused] == ["1.hdf5", "1.hdf5"]
    assert "not a readable HDF5 file" in report.refused[0].reason
    assert "no dataset 'observations/qpos'; observations holds images, qvel" in report.refused[1].reason
    assert [each[:2] for each in told] == [(number, 5) for number in range(1, 6)]
    again = run(tmp_path / "in", out)
    assert again.imported == []
    assert "exists already; episodes are never overwritten" in again.refused[0].reason


def test_what_is_no_source_is_one_line(tmp_path: Path) -> None:
    profile = ImportProfile.model_validate({})
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    for source, message in (("none", "no such file"), ("empty", "looks like none of"), ("note.txt", "looks like none")):
        with pytest.raises(FormatError, match=message):
            import_source(tmp_path / source, tmp_path / "out", profile)
    with pytest.raises(FormatError, match="no format 'nothing' can be read"):
        import_source(tmp_path / "empty", tmp_path / "out", profile, format="nothing")


def small(steps: int) -> EpisodeData:
    return EpisodeData(
        action=np.zeros((steps, 2), np.float32),
        qpos=np.zeros((steps, 2), np.float32),
        qvel=None,
        images={},
        instruction="Do it.",
        attributes=EpisodeAttributes(sim=False),
    )


def test_frames_are_in_memory_one_at_a_time(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)

    def stream() -> Iterator[np.ndarray]:
        for step in range(60):
            yield np.roll(image, step)

    camera = CameraStream(frames=stream, jpeg=False, height=240, width=320)
    tracemalloc.start()
    try:
        stream_episode(tmp_path / "a.hdf5", small(60), {"cam": camera})
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20  # all of them are 13 MiB
    finally:
        tracemalloc.stop()
    with open_episode(tmp_path / "a.hdf5") as episode:
        np.testing.assert_array_equal(episode.frame("cam", 59), np.roll(image, 59))


def test_an_interrupted_import_leaves_nothing_half(tmp_path: Path) -> None:
    def stream() -> Iterator[np.ndarray]:
        yield np.zeros((8, 8, 3), np.uint8)
        raise KeyboardInterrupt

    camera = CameraStream(frames=stream, jpeg=False, height=8, width=8)
    with pytest.raises(KeyboardInterrupt):
        stream_episode(tmp_path / "a.hdf5", small(5), {"cam": camera})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="No space left"):
        run(foreign_file(tmp_path / "a.hdf5"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_value_survives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Motion of any float32, labels of any run, cameras of any mix."""
    folder = tmp_path_factory.mktemp("round")
    steps = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    bits = rng.integers(0, 2**32, (steps, data.draw(st.integers(1, 20))), np.uint32).view(np.float32)
    action = np.where(np.isfinite(bits), bits, 1.5).astype(np.float32)
    qpos = np.roll(action, 1, axis=0)
    images = rng.integers(0, 256, (steps, 16, 24, 3), np.uint8)
    labels = data.draw(st.lists(st.sampled_from(["reach", "grasp", ""]), min_size=steps, max_size=steps))
    with h5py.File(folder / "a.hdf5", "w") as file:
        file["action"], file["observations/qpos"] = action, qpos
        file["language_raw"], file["substep_reasonings"] = ["Do it."], labels
        for number in range(data.draw(st.integers(1, 3))):
            if data.draw(st.booleans()):
                file[f"observations/images/cam_{number}"] = images
            else:
                rows = [png(image, swapped=True) for image in images]
                file[f"observations/images/cam_{number}"] = np.array(rows, "S")
    one = imported(folder / "a.hdf5", folder / "out")
    with open_episode(one.file) as episode:
        assert episode.action.tobytes() == action.tobytes()
        assert episode.qpos.tobytes() == qpos.tobytes()
        assert episode.substep_reasonings == (tuple(labels) if any(labels) else None)
        for camera in episode.cameras:
            for step in range(steps):
                np.testing.assert_array_equal(episode.frame(camera, step), images[step])


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dexvla.cli", "import", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def test_the_command_tells_what_became_of_each_file(tmp_path: Path) -> None:
    foreign_file(tmp_path / "in" / "episode_0.hdf5", drop("language_raw"))
    foreign_file(tmp_path / "in" / "episode_1.hdf5", drop("observations/qpos"))
    (tmp_path / "table.csv").write_text("Episode,Instruction\nepisode_0,Fold the shirt.\n")
    (tmp_path / "profile.yaml").write_text("fps: 20\nrobot: arm\n")
    done = command(
        *(tmp_path / "in", "--out", tmp_path / "out", "--json", tmp_path / "report.json"),
        *("--profile", tmp_path / "profile.yaml", "--instruction-table", tmp_path / "table.csv", "--fps", "25"),
        *("--action", "0-2,6", "--cameras", "cam_high=top"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    (good,), (bad,) = report["imported"], report["refused"]
    assert {name: good[name] for name in ("source", "file", "steps", "warnings")} == {
        "source": str(tmp_path / "in" / "episode_0.hdf5"),
        "file": str(tmp_path / "out" / "episode_0.hdf5"),
        "steps": 12,
        "warnings": [],
    }
    assert bad["source"] == str(tmp_path / "in" / "episode_1.hdf5")
    assert "observations/qpos" in bad["reason"]
    with open_episode(tmp_path / "out" / "episode_0.hdf5") as episode:
        assert episode.instruction == "Fold the shirt."
        assert (episode.attributes.fps, episode.attributes.robot) == (25.0, "arm")
        assert (episode.action.shape, episode.cameras) == ((12, 4), ("top",))
    done = command(tmp_path / "in" / "episode_0.hdf5", "--out", tmp_path / "none", "--json", "-")
    assert done.returncode == 1
    assert json.loads(done.stdout)["imported"] == []
    assert done.stderr.splitlines()[-1].startswith("dexvla: nothing was imported; ")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", "its columns are a, b; expected episode and instruction"), ("episode,instruction\nx\n", "row 2")],
)
def test_a_table_of_another_kind_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "t.csv")
