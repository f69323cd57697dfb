"""Legal oddities of other people's files: each is read with the right values, guesses and losses are told."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rosbags.rosbag2 import StoragePlugin

from backend.intake.showing import shown
from dexvla.episodes.format import JPEG_CHANNELS
from dexvla.episodes.jpeg import encode_jpeg, whole_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.formats.importing import ImportReport, import_source, open_source
from dexvla.formats.videos import write_video
from dexvla.spec import ImportProfile
from tests.support.foreign_files import CAMERA, STEPS, Edit, attribute, byte_strings, foreign_file, frames, put, rows_of
from tests.support.media_data import write_ros2
from tests.support.rlds_data import STATE, STATE_VALUES, dataset, described, encoded, tensor


def bring(source: Path, folder: Path, **said: Any) -> ImportReport:
    return import_source(source, folder / "ours", ImportProfile.model_validate({"instruction": "Lift it.", **said}))


def one(report: ImportReport) -> Path:
    assert (report.refused, len(report.imported)) == ([], 1)
    return report.imported[0].file


def told(report: ImportReport) -> str:
    return " | ".join(report.imported[0].warnings)


def packed(kind: str, **options: Any) -> Callable[[NDArray[np.uint8]], bytes]:
    def pack(image: NDArray[np.uint8]) -> bytes:
        content = io.BytesIO()
        Image.fromarray(image).save(content, kind, **options)
        return content.getvalue()

    return pack


# --- HDF5 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [rows_of, byte_strings])
@pytest.mark.parametrize("pack", [packed("WEBP", lossless=True), packed("BMP")])
def test_images_that_end_in_zeros_are_whole(
    tmp_path: Path, store: Callable[..., Edit], pack: Callable[[NDArray[np.uint8]], bytes]
) -> None:
    """A BMP ends with its first row of pixels, which is black here: HDF5 takes those zeros for padding."""

    def black(image: NDArray[np.uint8]) -> bytes:
        return pack(np.concatenate([image[:-8], np.zeros_like(image[:8])]))

    source = foreign_file(tmp_path / "a.hdf5", store(black), attribute(JPEG_CHANNELS, "rgb"))
    with open_episode(one(bring(source, tmp_path))) as episode:
        for step in (0, STEPS - 1):
            np.testing.assert_array_equal(episode.frame("cam_high", step)[:-8], frames()[step][:-8])
            assert not episode.frame("cam_high", step)[-8:].any()


def test_bytes_behind_the_end_of_a_jpeg_are_left_out(tmp_path: Path) -> None:
    whole = [encode_jpeg(frame) for frame in frames()]
    source = foreign_file(tmp_path / "a.hdf5", rows_of(lambda frame: encode_jpeg(frame) + b"\x0a\x01\0\0"))
    with open_episode(one(bring(source, tmp_path, colours="rgb"))) as episode:
        assert [episode.stored_frame("cam_high", step).tobytes().rstrip(b"\0") for step in range(STEPS)] == whole
    assert whole_jpeg(b"\xff\xd8 cut\0\0") == b"\xff\xd8 cut"


def filtered(name: str) -> Edit:
    """An entry that is packed with a filter that is not there."""

    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((STEPS, 7))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple((STEPS, 7))
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plan)

    return edit


def test_an_optional_entry_that_cannot_be_unpacked_is_left_out_and_a_vital_one_says_what_to_do(tmp_path: Path) -> None:
    report = bring(foreign_file(tmp_path / "a.hdf5", filtered("base_action")), tmp_path)
    assert "base_action is packed with filter 32001" in told(report)
    report = bring(foreign_file(tmp_path / "b.hdf5", filtered("action")), tmp_path)
    assert "action is packed with filter 32001" in report.refused[0].reason
    assert "h5repack" in report.refused[0].reason


def test_entries_without_a_place_are_told(tmp_path: Path) -> None:
    extra = [put("rewards", np.zeros(STEPS)), put("observations/ft", np.ones((STEPS, 6))), put("debug/log", 1)]
    report = bring(foreign_file(tmp_path / "a.hdf5", *extra), tmp_path)
    assert "unknown entries, ignored: debug, rewards, observations/ft" in told(report)
    again = import_source(one(report), tmp_path / "again", ImportProfile())
    assert "unknown" not in told(again)


def test_an_entry_that_this_format_does_not_have_is_not_passed_over(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "a.hdf5")
    report = bring(source, tmp_path, state_entry="observations/eef")
    assert "state_entry is 'observations/eef', but this format has observations/qpos alone" in report.refused[0].reason


def test_a_text_ends_at_a_zero_byte_as_it_does_for_c(tmp_path: Path) -> None:
    labels = np.array([b"reach\0xx"] * 6 + [b"grasp"] * 6, "S10")
    texts = put("language_raw", np.array([b"pick\0it"], "S10")), put("substep_reasonings", labels)
    report = bring(foreign_file(tmp_path / "a.hdf5", *texts), tmp_path)
    with open_episode(one(report)) as episode:
        assert episode.wordings.texts == ("pick",)
        assert episode.substep_reasonings == ("reach",) * 6 + ("grasp",) * 6
    assert "language_raw holds a zero byte within its text; what stands before it is kept: 'pick'" in told(report)


def test_an_instruction_that_cannot_be_read_is_told_and_not_called_missing(tmp_path: Path) -> None:
    source = foreign_file(tmp_path / "a.hdf5", put("language_raw", np.array(["W\u00fcrfel".encode("latin-1")])))
    refused = import_source(source, tmp_path / "none", ImportProfile()).refused[0].reason
    assert refused.startswith("language_raw is not valid UTF-8: invalid start byte; give one for all episodes")
    report = bring(source, tmp_path)
    with open_episode(one(report)) as episode:
        assert episode.wordings.texts == ("Lift it.",)
    assert "language_raw is not valid UTF-8" in told(report)


def test_flags_are_numbers(tmp_path: Path) -> None:
    closed = np.arange(STEPS * 7).reshape(STEPS, 7) % 3 == 0
    with open_episode(one(bring(foreign_file(tmp_path / "a.hdf5", put("action", closed)), tmp_path))) as episode:
        np.testing.assert_array_equal(episode.action, closed.astype(np.float32))


def test_a_broken_end_is_told_before_the_import(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "a.hdf5", rows_of(encode_jpeg), lambda file: file[CAMERA].__setitem__(-1, 0))

    def refusals(**said: Any) -> Any:
        profile = ImportProfile(**said)
        return shown(open_source(path, profile), path.name, profile, str)["refusals"]

    why = "the frame of cam_high at step 11 cannot be read; keep the steps before a broken end (--keep-good-steps)"
    assert refusals() == [why]
    assert refusals(keep_good_steps=True) == []


# --- robomimic, RoboTwin, DROID ---------------------------------------------------------------------------


def demonstration(path: Path, **more: Any) -> Path:
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"] = demo["obs/qpos"] = np.arange(STEPS * 3, dtype=np.float32).reshape(STEPS, 3)
        demo["obs/agentview_image"] = frames()
        demo["obs/agentview_depth"] = np.zeros((STEPS, 48, 64, 1), np.float32)
        for name, value in more.items():
            demo[f"obs/{name}"] = value
        demo.attrs["language_instruction"] = np.array(["Take the bowl.", "Lift the bowl."], dtype=object)
        file["data"].attrs["problem_info"] = '{"language_instruction": ["Pick it up."]}'
    return path


def test_a_demonstration_with_several_wordings_rows_and_depth(tmp_path: Path) -> None:
    rows = np.array([encode_jpeg(frame) for frame in frames()], "S")
    report = bring(demonstration(tmp_path / "demo.hdf5", wrist_image=rows), tmp_path)
    with open_episode(one(report)) as episode:
        assert episode.wordings.texts == ("Take the bowl.", "Lift the bowl.", "Pick it up.")
        assert episode.cameras == ("agentview", "wrist")
        assert episode.stored_frame("wrist", 3).tobytes().rstrip(b"\0") == encode_jpeg(frames()[3])
    assert "left out: agentview_depth" in told(report)
    assert "colours of wrist: read as ordinary JPEG" in " ".join(report.imported[0].guesses)


def test_a_demonstration_that_broke_off_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    path = demonstration(tmp_path / "demo.hdf5")
    with h5py.File(path, "r+") as file:
        file.create_group("data/demo_1")
    report = bring(path, tmp_path)
    assert [each.episode for each in report.imported] == ["demo_0"]
    assert [each.episode for each in report.refused] == ["demo_1"]
    assert "data/demo_1/actions" in report.refused[0].reason


def test_an_action_more_than_observations_of_a_demonstration_is_the_last(tmp_path: Path) -> None:
    path = demonstration(tmp_path / "demo.hdf5")
    with h5py.File(path, "r+") as file:
        actions = np.concatenate([file["data/demo_0/actions"][:], [[7, 7, 7]]]).astype(np.float32)
        put("data/demo_0/actions", actions)(file)
    report = bring(path, tmp_path)
    with open_episode(one(report)) as episode:
        np.testing.assert_array_equal(episode.action, actions[:-1])
    assert "data/demo_0/actions has 13 rows, data/demo_0/obs/qpos 12; the last action is left out" in told(report)


def test_one_part_of_a_state_may_have_an_observation_more_than_another(tmp_path: Path) -> None:
    path = demonstration(tmp_path / "demo.hdf5", gripper=np.arange(STEPS + 1, dtype=np.float32)[:, None])
    report = bring(path, tmp_path, state_entry="obs/qpos, obs/gripper")
    with open_episode(one(report)) as episode:
        assert episode.qpos.shape == (STEPS, 4)
        np.testing.assert_array_equal(episode.qpos[:, 3], np.arange(STEPS))
    assert "1 observations after the last action are left out" in told(report)


def test_pixels_of_robotwin_are_not_swapped_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "task" / "episode0.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["joint_action/vector"] = np.zeros((STEPS, 14))
        file["observation/front_camera/rgb"] = frames()
        rows = [encode_jpeg(np.ascontiguousarray(frame[..., ::-1])) for frame in frames()]
        file["observation/head_camera/rgb"] = np.array(rows, "S")
    report = bring(path, tmp_path)
    with open_episode(one(report)) as episode:
        np.testing.assert_array_equal(episode.frame("front_camera", 3), frames()[3])
        assert episode.frame("head_camera", 3)[2, 4, 0] > 200
    assert "colours of head_camera: " in " ".join(report.imported[0].guesses)


def test_droid_without_a_gripper_and_with_short_videos(tmp_path: Path) -> None:
    videos = tmp_path / "one" / "recordings" / "MP4"
    videos.mkdir(parents=True)
    with h5py.File(tmp_path / "one" / "trajectory.h5", "w") as file:
        file["action/joint_position"] = np.ones((STEPS, 7))
        file["observation/robot_state/joint_positions"] = np.ones((STEPS, 7))
        file["observation/robot_state/gripper_position"] = np.ones(STEPS)
    write_video(videos / "7.mp4", frames(), fps=15)
    report = bring(tmp_path / "one", tmp_path)
    with open_episode(one(report)) as episode:
        assert (episode.action.shape[1], episode.qpos.shape[1]) == (7, 8)
    assert report.imported[0].guesses[0].startswith("action is action/joint_position alone")
    write_video(videos / "7.mp4", frames()[:9], fps=15)
    assert "camera 7: 9 frames for 12 steps" in bring(tmp_path / "one", tmp_path / "no").refused[0].reason


# --- tables -----------------------------------------------------------------------------------------------


def images_and(folder: Path, text: str | bytes, *, without: int | None = None, table: str = "steps.csv") -> Path:
    (folder / "one" / "cam").mkdir(parents=True)
    for step, frame in enumerate(frames()):
        if step != without:
            Image.fromarray(frame).save(folder / "one" / "cam" / f"frame_{step:04d}.png")
    (folder / "one" / table).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def test_a_table_of_a_spreadsheet_with_decimal_commas(tmp_path: Path) -> None:
    rows = "".join(f"{step},5;-{step},25;1,0e-1;note {step}\r\n" for step in range(STEPS))
    text = b"\xef\xbb\xbf" + f"state_0;action_0;action_1;remark\r\n{rows}".encode()
    report = bring(images_and(tmp_path / "lab", text, table="STEPS.CSV"), tmp_path)
    with open_episode(one(report)) as episode:
        np.testing.assert_array_equal(episode.qpos[:, 0], np.arange(STEPS) + np.float32(0.5))
        np.testing.assert_array_equal(episode.action[3], np.float32([-3.25, 0.1]))
    assert "decimal comma" in " ".join(report.imported[0].guesses)
    assert "columns that an episode of ours has no place for are left out: remark" in told(report)


def test_an_image_that_is_missing_does_not_move_those_after_it(tmp_path: Path) -> None:
    text = "state,action\n" + "".join(f"{step},{step}\n" for step in range(STEPS))
    report = bring(images_and(tmp_path / "lab", text, without=5), tmp_path)
    assert "11 images for 12 rows, and none between frame_0004.png and frame_0006.png" in report.refused[0].reason
    # one that is missing at the end moves nothing
    report = bring(images_and(tmp_path / "end", text, without=11), tmp_path)
    with open_episode(one(report)) as episode:
        assert episode.steps == 11
        np.testing.assert_array_equal(episode.frame("cam", 10), frames()[10])


def test_videos_of_different_rates_give_none(tmp_path: Path) -> None:
    (tmp_path / "lab" / "one").mkdir(parents=True)
    for name, rate in (("a", 30), ("b", 15)):
        write_video(tmp_path / "lab" / "one" / f"{name}.mp4", frames(), fps=rate)
    rows = "".join(f"{step},{step}\n" for step in range(STEPS))
    (tmp_path / "lab" / "one" / "steps.csv").write_text(f"state,action\n{rows}")
    report = bring(tmp_path / "lab", tmp_path)
    with open_episode(one(report)) as episode:
        assert episode.attributes.fps is None
    assert "its videos have 15 and 30 Hz: none is taken" in told(report)


# --- what an import asks ----------------------------------------------------------------------------------


def looked_at(source: Path, **said: Any) -> dict[str, Any]:
    profile = ImportProfile.model_validate({"instruction": "Lift it.", **said})
    opened = open_source(source, profile)
    return shown(opened, opened.names[0], profile, str)


def test_the_guesses_of_every_reader_stand_at_their_questions(tmp_path: Path) -> None:
    parts = {"world_vector": tensor("float32", 1), "rotation_delta": tensor("float32", 1)}
    step = {"observation": {**STATE["observation"]}, "action": {**parts, "open_gripper": tensor("float32", 1)}}
    values = {name: value for name, value in STATE_VALUES.items() if name != "steps/action"}
    values |= {f"steps/action/{name}": np.zeros(4, np.float32) for name in step["action"]}
    found = looked_at(dataset(tmp_path / "rlds", described(step), encoded(values)))
    assert (found["refusals"], found["guessed"]) == ([], ["action"])
    write_ros2(tmp_path / "bag", StoragePlugin.MCAP)
    found = looked_at(tmp_path / "bag")
    assert (found["refusals"], found["guessed"]) == ([], ["action", "fps", "state", "times"])
    assert (found["times"]["fps"], found["times"]["fps_from"], found["times"]["file_fps"]) == (30, "guess", None)
    rows = "".join(f"{step},{step}\n" for step in range(STEPS))
    folder = images_and(tmp_path / "lab", f"state,action\n{rows}")
    assert looked_at(folder)["guessed"] == ["action", "state"]
    assert looked_at(folder, state_entry="state", action_entry="action")["guessed"] == []
    (camera,) = looked_at(foreign_file(tmp_path / "one" / "a.hdf5", rows_of(encode_jpeg)))["cameras"]
    assert camera["colours_guessed"]
