"""Episodes that only numbers know."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dexvla.episodes.format import EpisodeAttributes, EpisodeData, LabelSource
from dexvla.episodes.jpeg import encode_jpeg

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def episode_data(
    *,
    seed: int = 0,
    steps: int = 24,
    action_dim: int = 14,
    state_dim: int = 14,
    cameras: Sequence[str] = CAMERAS,
    size: tuple[int, int] = (48, 64),
    jpeg: bool = True,
    labels: Sequence[str] | None = ("Reach for the cube", "Lift the cube"),
    instruction: str = "Transfer the red cube.",
    attributes: Mapping[str, Any] | None = None,
    joint_positions: bool = False,
) -> EpisodeData:
    """A smooth random motion with images that change from step to step; `labels` share the steps evenly."""
    rng = np.random.default_rng(seed)
    qpos = np.cumsum(rng.normal(0, 0.05, (steps, state_dim)), axis=0).astype(np.float32)
    columns = np.arange(action_dim) % state_dim
    scene = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    scene = scene[: size[0], : size[1]]
    images = {
        name: np.stack([np.roll(scene, step * 2 + number * 7, axis=1) for step in range(steps)])
        for number, name in enumerate(cameras)
    }
    stored: dict[str, Any] = dict(images)
    if jpeg:
        stored = {name: [encode_jpeg(frame) for frame in frames] for name, frames in images.items()}
    texts = None if labels is None else [labels[step * len(labels) // steps] for step in range(steps)]
    return EpisodeData(
        action=(qpos[:, columns] + 0.01).astype(np.float32),
        qpos=qpos,
        qvel=np.gradient(qpos, axis=0).astype(np.float32) * 50,
        images=stored,
        instruction=instruction,
        attributes=EpisodeAttributes(**{"sim": True, "fps": 50.0, **(attributes or {})}),
        substep_reasonings=texts,
        label_source=None if texts is None else LabelSource.SCRIPTED,
        joint_positions=qpos.copy() if joint_positions else None,
        timestamp=np.arange(steps) / 50,
    )
