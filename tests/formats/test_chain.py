"""One chain through several formats and back: ours -> LeRobot -> ours -> upstream's -> ours, whatever the episode."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.episodes.manifest import find_set
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.writer import write_episode
from dexvla.formats.exporting import ExportReport, export_episodes, with_labels_of
from dexvla.formats.importing import import_source
from dexvla.formats.outgoing import psnr
from dexvla.spec import ImportProfile
from tests.support.media_data import episode_of

EXACT = ("action", "qpos", "qvel", "joint_positions", "action_sent", "timestamp", "host_timestamp")


def hop(source: Path, folder: Path, format_name: str) -> tuple[Path, ExportReport]:
    """Out in a format and in again; the folder of our file, and what the export said."""
    told = export_episodes(with_labels_of(find_set(str(source))).episodes, folder / format_name, format_name)
    report = import_source(folder / format_name, folder / f"{format_name}-back", ImportProfile())
    assert (report.refused, len(report.imported), report.imported[0].guesses) == ([], 1, ())
    return folder / f"{format_name}-back", told


def opened(folder: Path) -> Any:
    return open_episode(next(folder.glob("*.hdf5")))


def frames_of(episode: Episode) -> dict[str, NDArray[np.uint8]]:
    seen = sorted({0, 1, episode.steps // 2, episode.steps - 1} & set(range(episode.steps)))
    return {camera: np.stack([episode.frame(camera, step) for step in seen]) for camera in episode.cameras}


def assert_same(before: Episode, after: Episode) -> None:
    """All but the images."""
    assert (after.steps, after.cameras) == (before.steps, before.cameras)
    for name in EXACT:
        was, found = getattr(before, name), getattr(after, name)
        assert (was is None) == (found is None), name
        if was is not None:
            assert found.dtype == was.dtype
            assert found.tobytes() == was.tobytes(), name
    for camera in before.cameras:
        np.testing.assert_array_equal(after.image_timestamp(camera), before.image_timestamp(camera))
    assert after.wordings.texts == before.wordings.texts
    assert after.substep_reasonings == before.substep_reasonings
    assert after.label_source == before.label_source
    assert (after.step_source, after.marks) == (before.step_source, before.marks)
    assert after.attributes == before.attributes
    assert after.recovery_attributes == before.recovery_attributes
    assert (after.state_names, after.action_names) == (before.state_names, before.action_names)


SHAPES = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 30),
        "state": st.integers(1, 20),
        "action": st.integers(1, 20),
        "cameras": st.integers(1, 3),
        "height": st.integers(2, 9),
        "width": st.integers(2, 12),
        "jpeg": st.booleans(),
        "labelled": st.booleans(),
        "full": st.booleans(),
        "seed": st.integers(0, 2**16),
    }
)
SHORTEST: dict[str, Any] = {
    "steps": 1, "state": 1, "action": 1, "cameras": 1, "height": 2, "width": 3, "jpeg": False, "labelled": True,
    "full": True, "seed": 0,
}  # fmt: skip


def episode_in(folder: Path, shape: dict[str, Any]) -> Path:
    """An episode with hard numbers: whole float32s, a clock that jitters, and everything optional where `full`."""
    steps, rng = shape["steps"], np.random.default_rng(shape["seed"])
    names = [f"cam_{'abc'[number]}" for number in range(shape["cameras"])]
    data = episode_of(
        steps,
        seed=shape["seed"],
        state_dim=shape["state"],
        action_dim=shape["action"],
        cameras=names,
        size=(shape["height"], shape["width"]),
        jpeg=shape["jpeg"],
        attributes={"fps": 50.0, "success": bool(shape["seed"] % 2), "robot": "bench", "task": "stack", "seed": 9},
    )
    bits = rng.integers(0, 2**32, data.action.shape, np.uint32).view(np.float32)
    data.action[:] = np.where(np.isfinite(bits), bits, np.float32(1e-45))
    times = np.arange(steps) / 50 + rng.uniform(0, 1e-3, steps)
    data = dataclasses.replace(data, timestamp=times - times[0])
    if not shape["labelled"]:
        data = dataclasses.replace(data, substep_reasonings=None, label_source=None)
    if shape["full"]:
        data = dataclasses.replace(
            data,
            joint_positions=rng.normal(size=(steps, 5)).astype(np.float32),
            action_sent=(data.action / 2).astype(np.float32),
            host_timestamp=1.7e9 + times,
            image_timestamp={name: times - times[0] + 1e-3 for name in names},
            step_source=[list(StepSource)[number] for number in rng.integers(0, len(StepSource), steps)],
            marks=sorted({0, steps // 2}),
            paraphrases=["Put it there", "把它放在那里"],
            extra_attributes={
                "mishaps": "drop at 3",
                "wide_start": True,
                "state_names": ", ".join(f"axis {'x' * (1 + n)}" for n in range(shape["state"])),
            },
        )
    folder.mkdir()
    write_episode(folder / "one.hdf5", data)
    return folder


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES)
@example(shape=SHORTEST)
@example(
    shape={**SHORTEST, "steps": 2000, "cameras": 2, "state": 14, "action": 14, "height": 8, "width": 9, "jpeg": True}
)
def test_a_chain_through_images_loses_nothing(tmp_path_factory: pytest.TempPathFactory, shape: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("chain")
    ours = episode_in(folder / "ours", shape)
    first, told = hop(ours, folder, "lerobot-images")
    assert told.loss_db is None
    with opened(ours) as before, opened(first) as after:
        assert_same(before, after)
        for camera in before.cameras:
            assert after.is_jpeg(camera) == shape["jpeg"]
            for step in {0, before.steps - 1}:
                assert bytes(after.stored_frame(camera, step)) == bytes(before.stored_frame(camera, step))
    second, told = hop(first, folder, "dexvla")
    assert told.loss_db is None
    with opened(ours) as before, opened(second) as after:
        if after.has_qvel and not before.has_qvel:
            pytest.fail("velocities came from nowhere")
        assert_same(before, after)
        for camera, frames in frames_of(before).items():
            np.testing.assert_array_equal(frames_of(after)[camera], frames)


@settings(max_examples=4, deadline=None)
@given(shape=SHAPES)
@example(shape={**SHORTEST, "steps": 12, "height": 47, "width": 63})
def test_a_chain_through_videos_loses_no_more_than_it_says(
    tmp_path_factory: pytest.TempPathFactory, shape: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    ours = episode_in(folder / "ours", {**shape, "height": shape["height"] + 30, "width": shape["width"] + 30})
    first, told = hop(ours, folder, "lerobot")
    assert told.loss_db is not None
    second, _ = hop(first, folder, "dexvla")
    with opened(ours) as before, opened(second) as after:
        assert_same(before, after)
        for camera in before.cameras:
            for step in {0, before.steps - 1}:
                frame, found = before.frame(camera, step), after.frame(camera, step)
                assert found.shape == frame.shape, "also where a side is odd"
                assert psnr(frame, found) >= told.loss_db - 0.01
