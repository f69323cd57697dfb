"""HDF5 as others lay it out: robomimic, LIBERO, RoboTwin, DROID in; upstream DexVLA and robomimic out and back."""

import errno
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import open_episode
from dexvla.formats import registry, robomimic
from dexvla.formats.base import FormatError
from dexvla.formats.importing import ImportReport, import_source
from dexvla.spec import Colours, ImportProfile
from tests.support.hdf5_layouts import STEPS, half, write_droid, write_robotwin
from tests.support.media_data import INSTRUCTION, episode_of, export_episode, exported

TEXTS = ["Reach for the cube"] * 6 + ["Lift the cube"] * 6


def bring(source: Path, folder: Path, **said: Any) -> ImportReport:
    return import_source(source, folder / "ours", ImportProfile(**said))


def one(report: ImportReport) -> Path:
    assert report.refused == []
    assert len(report.imported) == 1
    return report.imported[0].file


def guesses(report: ImportReport) -> str:
    return " ".join(report.imported[0].guesses)


# --- there and back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["episodes", "dexvla", "dexvla-jpeg", "robomimic", "rlds", "mcap"])
@settings(max_examples=6, deadline=None)
@given(
    steps=st.integers(1, 40),
    dims=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    cameras=st.integers(1, 3),
    jpeg=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_motion_and_labels_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    steps: int,
    dims: tuple[int, int],
    cameras: int,
    jpeg: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("back")
    names = [f"cam_{number}" for number in range(cameras)]
    data = episode_of(steps, seed=seed, state_dim=dims[0], action_dim=dims[1], cameras=names, size=(16, 24), jpeg=jpeg)
    episode = export_episode(folder, data)
    with open_episode(episode.path) as file:
        labelled = replace(episode, substeps=_segments(file.substep_reasonings))
    exported(registry.exporter(name), folder / "out", labelled)
    with open_episode(episode.path) as before, open_episode(one(bring(folder / "out", folder))) as after:
        assert after.action.tobytes() == before.action.tobytes()
        assert after.qpos.tobytes() == before.qpos.tobytes()
        assert after.substep_reasonings == before.substep_reasonings
        assert after.instruction == INSTRUCTION
        assert after.cameras == before.cameras
        np.testing.assert_array_equal(after.timestamp, before.timestamp)
        if name != "dexvla-jpeg":
            for camera in names:
                np.testing.assert_array_equal(after.frame(camera, steps - 1), before.frame(camera, steps - 1))


def _segments(texts: Any) -> Any:
    from dexvla.episodes.segments import run_length

    return run_length(texts)


def upstream_sample(path: Path, camera: str, step: int) -> dict[str, Any]:
    """What the public reference's loader takes of a file, written from the facts about it: whether it is simulated from
    an attribute, motion at once, the image of a step by index and only then decoded if the file says compress, the
    first instruction, the substep of the step."""
    with h5py.File(path, "r") as file:
        compressed = bool(file.attrs.get("compress", False))
        image = file[f"/observations/images/{camera}"][step]
        if compressed:
            image = opencv_decode(image)
        action = file["/action"][()]
        return {
            "sim": bool(file.attrs["sim"]),
            "qpos": file["/observations/qpos"][step],
            "qvel": file["/observations/qvel"][step],
            "action": action[step:] if file.attrs["sim"] else action[max(0, step - 1) :],
            "image": image,
            "text": file["language_raw"][0].decode("utf-8"),
            "reasoning": file["substep_reasonings"][step].decode("utf-8"),
        }


def opencv_decode(row: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV gives BGR; the loader takes it for the RGB that was encoded as if it were BGR."""
    with Image.open(io.BytesIO(row.tobytes())) as image:
        return np.asarray(image.convert("RGB"))[..., ::-1]


@pytest.mark.parametrize("name", ["dexvla", "dexvla-jpeg"])
@pytest.mark.parametrize("velocities", [True, False])
def test_upstream_reads_what_goes_out(tmp_path: Path, name: str, velocities: bool) -> None:
    data = episode_of(STEPS)
    episode = export_episode(tmp_path, data if velocities else replace(data, qvel=None))
    with open_episode(episode.path) as file:
        labelled = replace(episode, substeps=_segments(file.substep_reasonings))
        images = [file.frame("cam_high", step) for step in range(STEPS)]
    (done,) = exported(registry.exporter(name), tmp_path / "out", labelled)
    assert any("no velocities" in text for text in done.warnings) is not velocities
    for step in (0, 5, STEPS - 1):
        sample = upstream_sample(tmp_path / "out" / "episode_0.hdf5", "cam_high", step)
        assert (sample["sim"], sample["text"], sample["reasoning"]) == (True, INSTRUCTION, TEXTS[step])
        np.testing.assert_array_equal(sample["qpos"], data.qpos[step])
        np.testing.assert_array_equal(sample["action"], data.action[step:])
        np.testing.assert_array_equal(sample["qvel"], data.qvel[step] if velocities else np.zeros(14))
        if name == "dexvla":
            np.testing.assert_array_equal(sample["image"], images[step])
        else:
            assert np.abs(sample["image"].astype(int) - images[step]).mean() < 3, "red and blue are in their places"


# --- as others write them ---------------------------------------------------------------------------------


def write_libero(path: Path) -> None:
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["problem_info"] = json.dumps({"language_instruction": "pick up the bowl"})
        data.attrs["env_args"] = json.dumps({"env_name": "Libero", "env_kwargs": {"control_freq": 20}})
        for number in range(11):
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = random.normal(size=(STEPS, 7))
            demo["rewards"] = np.r_[np.zeros(STEPS - 1), 1].astype(np.uint8)
            demo["obs/joint_states"] = random.normal(size=(STEPS, 7))
            demo["obs/gripper_states"] = random.normal(size=(STEPS, 2))
            demo["obs/agentview_rgb"] = np.stack([half(step, upside_down=True) for step in range(STEPS)])


def test_libero(tmp_path: Path) -> None:
    write_libero(tmp_path / "bowl_demo.hdf5")
    report = bring(tmp_path / "bowl_demo.hdf5", tmp_path)
    assert [each.source.rpartition("demo_")[2] for each in report.imported] == [str(n) for n in range(11)]
    with h5py.File(tmp_path / "bowl_demo.hdf5") as file, open_episode(report.imported[10].file) as episode:
        np.testing.assert_array_equal(episode.action, file["data/demo_10/actions"][()].astype(np.float32))
        assert episode.qpos.shape == (STEPS, 9)
        np.testing.assert_array_equal(episode.qpos[:, :7], file["data/demo_10/obs/joint_states"][()].astype(np.float32))
        assert (episode.instruction, episode.attributes.fps, episode.attributes.success) == (
            "pick up the bowl",
            20,
            True,
        )
        assert episode.cameras == ("agentview",)
        np.testing.assert_array_equal(episode.frame("agentview", 3), half(3))
    assert "turned by 180 degrees" in guesses(report)
    assert "state is data/demo_0/obs/joint_states" in guesses(report)


def test_the_state_of_robomimic_is_what_the_profile_says(tmp_path: Path) -> None:
    write_libero(tmp_path / "bowl_demo.hdf5")
    report = bring(tmp_path / "bowl_demo.hdf5", tmp_path, state_entry="gripper_states")
    with open_episode(report.imported[0].file) as episode:
        assert episode.qpos.shape == (STEPS, 2)


def test_a_robomimic_file_without_images_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "low_dim.hdf5"
    write_libero(path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["obs/agentview_rgb"]
    report = bring(path, tmp_path)
    assert report.imported == []
    assert "data/demo_0/obs holds no images" in report.refused[0].reason
    assert "dataset_states_to_obs" in report.refused[0].reason


@pytest.mark.parametrize("colours", [None, Colours.RGB])
def test_robotwin(tmp_path: Path, colours: Colours | None) -> None:
    vector = write_robotwin(tmp_path / "task" / "data" / "episode0.hdf5")
    words = tmp_path / "task" / "instructions" / "episode0.json"
    words.parent.mkdir()
    words.write_text(json.dumps({"seen": ["Lift the pot.", "Raise the pot."], "unseen": ["Up with it."]}))
    report = bring(tmp_path / "task", tmp_path, colours=colours)
    assert report.format == "robotwin"
    with open_episode(one(report)) as episode:
        np.testing.assert_array_equal(episode.qpos, vector)
        np.testing.assert_array_equal(episode.action, np.concatenate([vector[1:], vector[-1:]]))
        assert (episode.instruction, episode.paraphrases) == ("Lift the pot.", ("Raise the pot.",))
        red = episode.frame("head_camera", 4)[2, 20]
        assert bool(red[0] > 200) is (colours is None)
    assert ("red and blue swapped" in guesses(report)) is (colours is None)
    assert "each action is the state of the next step" in guesses(report)


def test_droid(tmp_path: Path) -> None:
    action = write_droid(tmp_path / "lab" / "success" / "one")
    report = bring(tmp_path / "lab", tmp_path)
    assert report.format == "droid"
    with open_episode(one(report)) as episode:
        np.testing.assert_array_equal(episode.action, action)
        assert episode.qpos.shape == (STEPS, 8)
        assert (episode.instruction, episode.attributes.success) == ("put the marker in the pot", True)
        assert episode.timestamp is not None
        assert 1 / np.median(np.diff(episode.timestamp)) == pytest.approx(15, rel=0.03)
        assert episode.frame("23897859", 5)[2, 20, 0] > 180
    assert any("2 frames after the last step" in text for text in report.imported[0].warnings)


def test_droid_without_videos_names_where_they_belong(tmp_path: Path) -> None:
    write_droid(tmp_path / "one", videos=False)
    report = bring(tmp_path / "one", tmp_path)
    assert report.imported == []
    assert "recordings/MP4" in report.refused[0].reason


# --- what does harm ---------------------------------------------------------------------------------------


def external(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = h5py.ExternalLink("/etc/hostname", "/x")


def huge(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0"].create_dataset("actions", shape=(10**9, 7), dtype="f8", chunks=(10**6, 7))


def short(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        values = file["data/demo_0/obs/joint_states"][:5]
        del file["data/demo_0/obs/joint_states"]
        file["data/demo_0/obs/joint_states"] = values


@pytest.mark.parametrize(
    ("spoil", "words"), [(external, "links are refused"), (huge, "1000000000"), (short, "joint_states has 5")]
)
def test_one_bad_demonstration_is_left_out(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "bowl_demo.hdf5"
    write_libero(path)
    spoil(path)
    report = bring(path, tmp_path)
    assert len(report.imported) == 10
    (refused,) = report.refused
    assert refused.source.endswith("demo_0")
    assert words in refused.reason


def test_a_file_of_many_demonstrations_is_gone_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself: neither is all of it walked for each, nor counts what the others hold."""
    monkeypatch.setattr("dexvla.episodes.bounds._MAX_ENTRIES", 12)
    write_libero(tmp_path / "bowl_demo.hdf5")
    report = bring(tmp_path / "bowl_demo.hdf5", tmp_path)
    assert (len(report.imported), report.refused) == (11, [])


def test_a_demonstration_behind_a_link_is_none(tmp_path: Path) -> None:
    path = tmp_path / "bowl_demo.hdf5"
    write_libero(path)
    with h5py.File(path, "r+") as file:
        file["data/demo_11"] = h5py.SoftLink("/data/demo_0")
    assert len(bring(path, tmp_path).imported) == 11


@pytest.mark.parametrize("name", ["robomimic", "lerobot-images"])
def test_a_camera_whose_frames_change_size_is_refused(tmp_path: Path, name: str) -> None:
    data = episode_of(4, cameras=["cam"])
    frames = list(data.images["cam"])
    frames[2] = encode_jpeg(np.zeros((32, 32, 3), np.uint8))
    episode = export_episode(tmp_path, replace(data, images={"cam": frames}))
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match="camera cam, step 2 is 32 x 32, expected 48 x 64"):
        registry.exporter(name).export((episode,), tmp_path / "out", on_episode=lambda _: None)


def test_a_full_disk_is_not_called_a_broken_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_libero(tmp_path / "bowl_demo.hdf5")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "there")

    monkeypatch.setattr("dexvla.episodes.streaming._refuse_full", full)
    with pytest.raises(OSError, match="No space left"):
        bring(tmp_path / "bowl_demo.hdf5", tmp_path)


def test_what_an_importer_did_not_think_of_ends_one_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_libero(tmp_path / "bowl_demo.hdf5")
    real = robomimic._rate

    def odd(facts: dict[str, Any], data: dict[str, Any]) -> float | None:
        counted.append(1)
        if len(counted) == 2:
            raise OverflowError("cannot convert float infinity to integer")
        return real(facts, data)

    counted: list[int] = []
    monkeypatch.setattr(robomimic, "_rate", odd)
    report = bring(tmp_path / "bowl_demo.hdf5", tmp_path)
    assert len(report.imported) == 10
    assert "OverflowError: cannot convert float infinity" in report.refused[0].reason


def test_links_in_a_circle_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").write_text("x: 1\n")
    (tmp_path / "bag" / "q.db3").symlink_to("q.db3")
    with pytest.raises(FormatError):
        bring(tmp_path / "bag", tmp_path)


def test_optional_attributes_of_another_type_cost_no_episode(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, episode_of(4))
    with h5py.File(episode.path, "r+") as file:
        file.attrs["mishaps"] = 5
        file.attrs["scene_attributes"] = "x y"
    report = bring(episode.path, tmp_path)
    assert len(report.imported) == 1
    assert any("mishaps" in text for text in report.imported[0].warnings)
    assert any("scene_attributes" in text for text in report.imported[0].warnings)
