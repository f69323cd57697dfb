"""Samples as the trainer makes them against those of the reference's dataset code: every set, every part."""

import json
from pathlib import Path

import numpy as np
import pytest

from dexvla.data.images import resize_bilinear
from dexvla.data.statistics import norm_stats
from dexvla.episodes.manifest import EpisodeSet, build_manifest
from dexvla.episodes.reader import open_episode
from dexvla.model.processing import Processor
from dexvla.spec import ActionKind, ActionSpace, CameraSpec, PaddedActions
from dexvla.train.data import EpisodeSamples, SampleSettings

FILES = {
    "sim": ["episode_0_sim"],
    "real": ["episode_1_real"],
    "all": ["episode_0_sim", "episode_1_real", "episode_2_real_short"],
    "jpeg": ["episode_3_real_jpeg"],
    "chunk_longer": ["episode_2_real_short"],
}
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def samples_of(
    parity: Path, name: str, *, chunk_size: int = 8, kind: ActionKind = ActionKind.ABSOLUTE
) -> EpisodeSamples:
    """The set's samples, padded with zeros as the reference pads, images at 60x80."""
    paths = tuple(parity / "episode" / f"{file}.hdf5" for file in FILES[name])
    manifest, motions = build_manifest(EpisodeSet(name=name, paths=paths), cameras=CAMERAS)
    return EpisodeSamples(
        entries=manifest.episodes,
        root=Path("/"),
        stats=norm_stats(motions),
        processor=Processor.from_pretrained(parity / "tiny" / "processor"),
        settings=SampleSettings(
            cameras=tuple(CameraSpec(name=camera, height=60, width=80) for camera in CAMERAS),
            chunk_size=chunk_size,
            diffusion_steps=100,
            use_reasoning=True,
            padded_actions=PaddedActions.ZEROS,
            action_space=ActionSpace(kind=kind),
            augment=False,
            seed=0,
        ),
    )


def assert_same(ours: object, theirs: np.ndarray, what: str) -> None:
    """The reference's numbers are float32 like ours: 1e-6 absolute plus 1e-6 relative, a few roundings apart."""
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=2e-6, rtol=2e-6, err_msg=what)


@pytest.mark.parametrize("name", ["sim", "real", "all", "sim.delta", "real.delta", "all.delta"])
def test_chunks_masks_states_and_texts(parity: Path, name: str) -> None:
    files, _, delta = name.partition(".")
    samples = samples_of(parity, files, kind=ActionKind.DIFFERENCE if delta else ActionKind.ABSOLUTE)
    expected = np.load(parity / "episode" / "dataset_expected.npz")
    listed = json.loads((parity / "episode" / "dataset_expected.json").read_text())[name]
    assert len(samples) == listed["len_dataset"]
    assert [list(samples.locate(index)) for index in listed["indices"]] == listed["locate"]
    for row, index in enumerate(listed["indices"]):
        sample = samples[0, index]
        assert np.array_equal(sample["is_pad"].numpy(), expected[f"{name}.is_pad"][row])
        assert_same(sample["actions"], expected[f"{name}.action"][row], f"action of {index}")
        assert_same(sample["states"], expected[f"{name}.state"][row], f"state of {index}")
        if "raw_lang" in listed:
            answer = sample["input_ids"][sample["labels"] != -100]
            tokenizer = Processor.from_pretrained(parity / "tiny" / "processor").tokenizer
            assert tokenizer.decode(answer) == f"{listed['reasoning'][row]}Next action:<|im_end|>"
            assert listed["raw_lang"][row] in tokenizer.decode(sample["input_ids"])


@pytest.mark.parametrize("name", ["sim", "real"])
def test_images(parity: Path, name: str) -> None:
    expected = np.load(parity / "episode" / "dataset_expected.npz")[f"{name}.image_index5"]
    with open_episode(parity / "episode" / f"{FILES[name][0]}.hdf5") as episode:
        ours = [resize_bilinear(episode.frame(camera, 5), 60, 80).transpose(2, 0, 1) for camera in CAMERAS]
    assert np.array_equal(ours, expected)


def test_jpeg_frames_are_decoded_before_they_are_resized(parity: Path) -> None:
    samples = samples_of(parity, "jpeg")
    expected = np.load(parity / "episode" / "jpeg_decode_first_expected.npz")
    with open_episode(parity / "episode" / "episode_3_real_jpeg.hdf5") as episode:
        for row, index in enumerate([0, 1, 7, 19]):
            sample = samples[0, index]
            assert np.array_equal(sample["is_pad"].numpy(), expected["is_pad"][row])
            assert_same(sample["actions"], expected["action"][row], f"action of {index}")
            assert_same(sample["states"], expected["state"][row], f"state of {index}")
            ours = [resize_bilinear(episode.frame(camera, index), 60, 80).transpose(2, 0, 1) for camera in CAMERAS]
            assert np.abs(np.asarray(ours).astype(int) - expected["image"][row]).max() <= 1


def test_a_chunk_longer_than_the_episode_has_its_full_length(parity: Path) -> None:
    """The reference cuts it to the episode's 13 steps, and its head fails on the shape."""
    sample = samples_of(parity, "chunk_longer", chunk_size=32)[0, 0]
    expected = np.load(parity / "episode" / "dataset_expected.npz")
    assert sample["actions"].shape == (32, 14)
    assert np.array_equal(sample["is_pad"].numpy()[:13], expected["chunk_longer.is_pad"])
    assert sample["is_pad"][13:].all()
    assert_same(sample["actions"][:13], expected["chunk_longer.action"], "action")
