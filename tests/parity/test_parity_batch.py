"""The stored batches, made again from the stored episodes: texts, images, chunks, states, padding."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from dexvla.data.chunks import action_chunk, action_source
from dexvla.data.normalise import normalise_actions, normalise_state
from dexvla.data.statistics import norm_stats
from dexvla.episodes.reader import Episode, load_episode
from dexvla.model.processing import Processor, answer_text, build_inputs, collate
from dexvla.spec import PaddedActions
from tests.support.parity_data import BATCH, find_parity

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
SIZES = ((48, 64), (56, 84), (56, 84))
FILES = ("episode_0_sim", "episode_1_real", "episode_2_real_short")
SAMPLES = {"tiny": [(0, 0), (1, 5), (2, 10)], "tiny_tinyvla": [(0, 0), (0, 1)]}  # samples 0, 25, 50 and 0, 1


@cache
def episodes() -> tuple[Episode, ...]:
    return tuple(load_episode(find_parity() / "episode" / f"{name}.hdf5") for name in FILES)


def image(episode: Episode, camera: int, step: int) -> np.ndarray:
    """The reference resizes the wrist images of these sets on its own, bicubically; ours shows them as they come."""
    frame = episode.frame(CAMERAS[camera], step)
    if frame.shape[:2] == SIZES[camera]:
        return frame
    height, width = SIZES[camera]
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def sample(processor: Processor, number: int, step: int, *, prompt: bool = False) -> dict[str, Tensor]:
    episode = episodes()[number]
    stats = norm_stats((one.action, one.qpos) for one in episodes())
    assert episode.substep_reasonings is not None
    made = build_inputs(
        processor,
        images=[image(episode, camera, step) for camera in range(3)],
        image_sizes=SIZES,
        instruction=episode.instruction,
        answer=None if prompt else answer_text(episode.substep_reasonings[step]),
    )
    made["states"] = torch.from_numpy(normalise_state(episode.qpos[step], stats))
    if not prompt:
        source = action_source(episode.action, step, sim=episode.sim)
        chunk, is_pad = action_chunk(source, 8, PaddedActions.ZEROS)
        made["actions"] = torch.from_numpy(normalise_actions(chunk, stats))
        made["is_pad"] = torch.from_numpy(is_pad)
    return made


def assert_stored(ours: dict[str, Tensor], theirs: dict[str, Tensor], names: tuple[str, ...]) -> None:
    """Integers exactly; the rest was rounded to bfloat16 before it was stored."""
    for name in names:
        expected = theirs[name]
        if expected.is_floating_point():
            torch.testing.assert_close(ours[name].bfloat16().float(), expected, atol=1e-6, rtol=2**-7, msg=name)
        else:
            assert torch.equal(ours[name].long(), expected.long()), name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_batch_is_the_references(parity: Path, name: str) -> None:
    processor = Processor.from_pretrained(parity / "tiny" / "processor")
    ours = collate([sample(processor, *where) for where in SAMPLES[name]], processor)
    stored = load_file(parity / name / "inputs.safetensors")
    assert_stored(ours, stored, BATCH)
    prompt = collate([sample(processor, *SAMPLES[name][0], prompt=True)], processor)
    names = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "states")
    assert_stored(
        prompt, {key.removeprefix("infer."): value for key, value in stored.items() if "infer." in key}, names
    )
