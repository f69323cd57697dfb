"""Videos, tables and contact sheets: what a person opens without our tools."""

import csv
import dataclasses
import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dexvla.episodes.format import StepSource
from dexvla.episodes.reader import open_episode
from dexvla.formats.base import FormatError
from dexvla.formats.csv_files import CSV
from dexvla.formats.mp4 import MP4, webvtt
from dexvla.formats.outgoing import clock_of, psnr
from dexvla.formats.sheets import SHEETS
from dexvla.spec import Segment
from tests.support.episode_data import episode_data
from tests.support.media_data import INSTRUCTION, episode_of, export_episode, exported

SMOOTH = np.add.outer(np.arange(48), np.arange(64))[..., None].repeat(3, 2)


def smooth_data(**changes: object):
    """Images that a codec keeps well: slopes that move."""
    frames = np.stack([(SMOOTH + step) % 256 // 2 for step in range(24)]).astype(np.uint8)
    data = episode_data(jpeg=False, cameras=("cam_high",))
    return dataclasses.replace(data, images={"cam_high": frames}, **changes)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decoded(path: Path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        return frames, container.chapters(), container.streams.video[0]


# --- tables -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
        min_size=1,
        max_size=40,
    )
)
def test_a_table_gives_every_float32_back(tmp_path_factory: pytest.TempPathFactory, values: list[list[float]]) -> None:
    folder = tmp_path_factory.mktemp("table")
    motion = np.asarray(values, np.float32)
    data = episode_of(len(motion), cameras=("cam",), size=(8, 8), labels=None)
    data = dataclasses.replace(data, qpos=motion, qvel=-motion, action=motion[::-1].copy())
    exported(CSV, folder / "out", export_episode(folder, data))
    rows = rows_of(folder / "out" / "one.csv")
    for word, array in (("state", motion), ("action", motion[::-1])):
        back = np.asarray([[np.float32(row[f"{word}_{number}"]) for number in (0, 1)] for row in rows])
        assert back.tobytes() == array.tobytes()
    assert [float(row["time"]) for row in rows] == data.timestamp.tolist()


def test_a_table_says_substep_and_who_commanded_each_step(tmp_path: Path) -> None:
    sources = [StepSource.POLICY] * 12 + [StepSource.HUMAN] * 12
    data = dataclasses.replace(episode_data(), step_source=sources)
    labels = (Segment(start=0, end=5, text='Say "ä", then; go'), Segment(start=5, end=24, text="Lift"))
    episode = export_episode(tmp_path, data, substeps=labels, success=True, tags=("a", "b"))
    exported(CSV, tmp_path / "out", episode)
    rows = rows_of(tmp_path / "out" / "one.csv")
    assert [row["substep"] for row in rows] == [labels[0].text] * 5 + ["Lift"] * 19
    assert [row["source"] for row in rows] == ["policy"] * 12 + ["human"] * 12
    (about,) = rows_of(tmp_path / "out" / "episodes.csv")
    assert (about["name"], about["steps"], about["fps"]) == ("one", "24", "50.0")
    assert (about["instruction"], about["success"], about["tags"]) == (INSTRUCTION, "true", '["a", "b"]')


# --- videos -----------------------------------------------------------------------------------------------


def test_a_video_has_a_frame_a_step_and_its_substeps_as_chapters_and_subtitles(tmp_path: Path) -> None:
    labels = (Segment(start=0, end=10, text="Reach <fast> & far --> now"), Segment(start=10, end=24, text="Lift"))
    (done,) = exported(MP4, tmp_path / "out", export_episode(tmp_path, smooth_data(), substeps=labels))
    assert done.files == ("one/cam_high.mp4", "one/cam_high.vtt")
    frames, chapters, stream = decoded(tmp_path / "out/one/cam_high.mp4")
    assert [time for time, _ in frames] == pytest.approx([step / 50 for step in range(24)], abs=1e-6)
    assert stream.average_rate == 50
    said = [(float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"])) for one in chapters]
    assert said == [(0.0, 0.2), (0.2, 0.48)]
    assert [one["metadata"]["title"] for one in chapters] == [part.text for part in labels]
    assert (tmp_path / "out/one/cam_high.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.200\nReach &lt;fast&gt; &amp; far --&gt; now\n\n"
        "00:00:00.200 --> 00:00:00.480\nLift\n"
    )


def test_the_loss_of_a_video_is_what_the_report_says(tmp_path: Path) -> None:
    data = smooth_data()
    (done,) = exported(MP4, tmp_path / "out", export_episode(tmp_path, data))
    frames, _, _ = decoded(tmp_path / "out/one/cam_high.mp4")
    pairs = zip(data.images["cam_high"], frames, strict=True)
    worst = min(psnr(image, back) for image, (_, back) in pairs)
    assert done.loss_db == pytest.approx(worst, abs=0.01)
    assert 38 < worst < 70


def test_red_stays_red_in_a_video(tmp_path: Path) -> None:
    red = np.zeros((24, 48, 64, 3), np.uint8)
    red[..., 0], red[..., 1], red[..., 2] = 200, 40, 10
    data = dataclasses.replace(smooth_data(), images={"cam_high": red})
    exported(MP4, tmp_path / "out", export_episode(tmp_path, data))
    frames, _, _ = decoded(tmp_path / "out/one/cam_high.mp4")
    assert np.abs(frames[5][1].astype(int) - red[5]).max() <= 4


def test_uneven_steps_keep_their_own_times(tmp_path: Path) -> None:
    times = np.arange(24) / 50
    times[10:] += 0.7
    labels = (Segment(start=0, end=10, text="Reach"), Segment(start=10, end=24, text="Lift"))
    episode = export_episode(tmp_path, smooth_data(timestamp=times + 1000), substeps=labels)
    (done,) = exported(MP4, tmp_path / "out", episode)
    assert any("0.700 s" in warning and "its own time" in warning for warning in done.warnings)
    frames, chapters, _ = decoded(tmp_path / "out/one/cam_high.mp4")
    assert [time for time, _ in frames] == pytest.approx(times.tolist(), abs=2e-5)
    assert float(chapters[1]["start"] * chapters[1]["time_base"]) == pytest.approx(0.9)
    assert "00:00:00.900 --> 00:00:01.180" in (tmp_path / "out/one/cam_high.vtt").read_text()


def test_an_odd_image_is_made_even_and_an_episode_without_rate_says_that_it_is_guessed(tmp_path: Path) -> None:
    data = episode_data(size=(47, 65), cameras=("cam",), attributes={"fps": None}, labels=None)
    (done,) = exported(MP4, tmp_path / "out", export_episode(tmp_path, dataclasses.replace(data, timestamp=None)))
    assert done.files == ("one/cam.mp4",)
    assert any("guess" in warning for warning in done.warnings)
    assert any("47 x 65" in warning for warning in done.warnings)
    frames, _, _ = decoded(tmp_path / "out/one/cam.mp4")
    assert len(frames) == 24
    assert frames[0][1].shape == (48, 66, 3)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.integers(1, 90),
    fps=st.sampled_from([0.5, 7.3, 10.0, 29.97, 30.0, 50.0, 240.0]),
    size=st.tuples(st.integers(16, 70), st.integers(16, 70)),
)
def test_every_step_is_one_frame(
    tmp_path_factory: pytest.TempPathFactory, steps: int, fps: float, size: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("video")
    data = episode_of(steps, cameras=("cam",), size=size, attributes={"fps": fps}, labels=None)
    data = dataclasses.replace(data, timestamp=None)
    exported(MP4, folder / "out", export_episode(folder, data))
    frames, _, _ = decoded(folder / "out/one/cam.mp4")
    assert [time for time, _ in frames] == pytest.approx([step / fps for step in range(steps)], abs=0.002 / fps + 1e-4)


def test_subtitles_of_an_hour(tmp_path: Path) -> None:
    episode = export_episode(tmp_path, smooth_data())
    with open_episode(episode.path) as file:
        clock = dataclasses.replace(clock_of(file), seconds=np.arange(24) * 300.0)
    assert "01:00:00.000 --> 01:05:00.000\nLate\n" in webvtt([Segment(start=12, end=13, text="Late")], clock)


# --- contact sheets ----------------------------------------------------------------------------------------


def test_contact_sheets_are_images(tmp_path: Path) -> None:
    (done,) = exported(SHEETS, tmp_path / "out", export_episode(tmp_path, episode_data(steps=40)))
    assert done.files == ("one_1.jpg", "one_2.jpg")
    for file in done.files:
        with Image.open(io.BytesIO((tmp_path / "out" / file).read_bytes())) as image:
            image.load()
            assert image.format == "JPEG"
            assert image.width > 1000


# --- what cannot go out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", [MP4, CSV, SHEETS])
def test_labels_of_another_length_and_damaged_files_are_named(tmp_path: Path, exporter: object) -> None:
    labels = (Segment(start=0, end=7, text="Reach"),)
    episode = export_episode(tmp_path, episode_data(), substeps=labels)
    with pytest.raises(FormatError, match=r"one\.hdf5: its labels cover 7 steps, it has 24"):
        exported(exporter, tmp_path / "out", episode)  # type: ignore[arg-type]
    episode.path.write_bytes(b"no episode")
    with pytest.raises(FormatError, match=r"one\.hdf5"):
        exported(exporter, tmp_path / "again", episode)  # type: ignore[arg-type]
