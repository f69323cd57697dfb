"""Raw episodes as RoboTwin and DROID lay them out."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.formats.videos import write_video

STEPS = 12


def half(step: int, *, upside_down: bool = False) -> NDArray[np.uint8]:
    """Red above, blue below; the red part grows."""
    image = np.zeros((32, 40, 3), np.uint8)
    image[: 8 + step] = (230, 10, 10)
    image[8 + step :] = (10, 10, 230)
    return image[::-1, ::-1] if upside_down else image


def write_robotwin(path: Path) -> NDArray[np.float32]:
    vector = np.random.default_rng(1).normal(size=(STEPS, 14))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["joint_action/vector"] = vector
        rows = [encode_jpeg(np.ascontiguousarray(half(step)[..., ::-1])) for step in range(STEPS)]  # as OpenCV does
        file["observation/head_camera/rgb"] = np.array(rows, dtype=f"S{max(map(len, rows))}")
    return vector.astype(np.float32)


def write_droid(folder: Path, *, videos: bool = True) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    (folder / "recordings" / "MP4").mkdir(parents=True)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        file.attrs["current_task"] = "put the marker in the pot"
        file.attrs["success"] = True
        action = random.normal(size=(STEPS, 8)).astype(np.float32)
        file["action/joint_position"], file["action/gripper_position"] = action[:, :7], action[:, 7]
        file["observation/robot_state/joint_positions"] = random.normal(size=(STEPS, 7))
        file["observation/robot_state/gripper_position"] = random.normal(size=STEPS)
        times = 1_700_000_000_000 + np.arange(STEPS) * 1000 // 15
        file["observation/timestamp/control/step_start"] = times.astype(np.int64)
    if videos:
        write_video(folder / "recordings" / "MP4" / "23897859.mp4", [half(step) for step in range(STEPS + 2)], fps=15)
    return action
