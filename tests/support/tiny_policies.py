"""Untrained policies for the simulated ALOHA, small enough to act on a busy CPU."""

from pathlib import Path
from typing import Any

import numpy as np

from dexvla.spec import CameraSpec, NormStats

CAMERAS = (
    CameraSpec(name="cam_angle", height=112, width=112),
    CameraSpec(name="cam_left_wrist", height=120, width=160),
)


def stats(start: np.ndarray, states: int) -> NormStats:
    """Actions close to a pose beside `start`: an untrained policy goes there and trembles within the robot's limits."""
    there = start + 0.05
    return NormStats(
        action_mean=tuple(there.tolist()),
        action_std=(1.0,) * len(start),
        action_min=tuple((there - 0.004).tolist()),
        action_max=tuple((there + 0.004).tolist()),
        qpos_mean=tuple(np.resize(start, states).tolist()),
        qpos_std=(1.0,) * states,
    )


def tiny_checkpoint(folder: Path, **changes: Any) -> Path:
    """A checkpoint directory below `folder` for ALOHA's 14 values and CAMERAS; `changes` to its PolicySpec."""
    from dexvla.model import new_policy, save_policy
    from dexvla.model.init_model import init_model
    from dexvla.robots.aloha_sim.scene import START_POSE, joint_positions
    from dexvla.spec import Initialisation, PolicySpec, ScaleDPSpec

    init_model(folder / "base")
    values: dict[str, Any] = {
        "expert": ScaleDPSpec(depth=2, width=64, heads=4, combine_width=64),
        "action_dim": 14,
        "state_dim": 14,
        "chunk_size": 50,
        "cameras": tuple(camera.model_copy(update={"height": 56, "width": 56}) for camera in CAMERAS),
        "recorded_cameras": CAMERAS,
        "robot": "aloha_sim",
        "render_profile": "fast",
        "fps": 50,
    }
    spec = PolicySpec(**{**values, **changes})
    start = np.resize(joint_positions(START_POSE), spec.action_dim).astype(np.float64)
    model = new_policy(
        folder / "base", spec, initialisation=Initialisation.UPSTREAM, norm_stats=stats(start, spec.state_dim)
    )
    save_policy(model, folder / "tiny-step-7", manifest={"run": "test"})
    return folder / "tiny-step-7"
