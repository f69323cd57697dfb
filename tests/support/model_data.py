"""A policy that resembles nobody's robot: 10 action values, 7 state values, three cameras of different sizes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dexvla.checksums import seal
from dexvla.model.policy import DexVLA
from dexvla.model.processing import answer_text, build_inputs
from dexvla.spec import CameraSpec, DiffusionSpec, Fusion, PolicySpec, ScaleDPSpec

CAMERAS = (
    CameraSpec(name="front", height=56, width=84),
    CameraSpec(name="side", height=60, width=60),
    CameraSpec(name="wrist", height=28, width=112),
)
EXPERT = ScaleDPSpec(depth=2, width=32, heads=2, combine_width=32)


def policy_spec(fusion: Fusion = Fusion.FILM, **changes: object) -> PolicySpec:
    spec = PolicySpec(
        expert=EXPERT,
        action_dim=10,
        state_dim=7,
        chunk_size=6,
        fusion=fusion,
        cameras=CAMERAS,
        diffusion=DiffusionSpec(inference_steps=4),
    )
    return spec.model_copy(update=changes)


def make_sample(
    policy: DexVLA, seed: int, instruction: str, reasoning: str | None = None, *, prompt: bool = False
) -> dict[str, Tensor]:
    """One sample with random images and numbers; `prompt` leaves the answer out."""
    numbers = np.random.default_rng(seed)
    sample = build_inputs(
        policy.processor,
        images=[numbers.integers(0, 256, (2 * c.height, c.width, 3), dtype=np.uint8) for c in CAMERAS],
        image_sizes=[(c.height, c.width) for c in CAMERAS],
        instruction=instruction,
        answer=None if prompt else answer_text(reasoning),
    )
    sample["states"] = torch.from_numpy(numbers.standard_normal(7, dtype=np.float32))
    if not prompt:
        sample["actions"] = torch.from_numpy(numbers.uniform(-1, 1, (6, 10)).astype(np.float32))
        sample["is_pad"] = torch.zeros(6, dtype=torch.bool)
    return sample


def file_bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def reseal(directory: Path) -> None:
    """A manifest that says what the files are now, or none where there is no checkpoint left."""
    (directory / "manifest.json").unlink(missing_ok=True)
    if (directory / "config.json").is_file():
        seal(directory)
