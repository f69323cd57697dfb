"""Episodes whose every frame says which step it is: the step number as a barcode, exact after JPEG and scaling.

The code is a row of cells along the top edge: a white and a black cell to tell where and what is black, then BITS cells
of the step, most significant first, white for one. Each camera's frame has a tint of its own below it, which moves.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import EpisodeAttributes, EpisodeData
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.writer import write_episode

BITS = 15
CELLS = BITS + 2
HEIGHT_SHARE = 1 / 8
_RAMP = 10  # steps in which an arm or a gripper gets going
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
_TINTS = ((70, 110, 150), (150, 100, 60), (80, 140, 90))

# in the page: the step that a canvas shows, read from its pixels; -1: no barcode there
READ_BARCODE = f"""(canvas) => {{
  const height = Math.max(1, Math.round(canvas.height * {HEIGHT_SHARE}));
  const row = canvas.getContext("2d").getImageData(0, height >> 1, canvas.width, 1).data;
  const cell = (index) => row[4 * Math.floor((index + 0.5) * canvas.width / {CELLS}) + 1];
  if (cell(0) < 160 || cell(1) > 96) return -1;
  let step = 0;
  for (let bit = 0; bit < {BITS}; bit += 1) step = 2 * step + (cell(bit + 2) > 128 ? 1 : 0);
  return step;
}}"""


def frame(step: int, camera: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of one step."""
    rows, columns = size
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = _TINTS[camera % len(_TINTS)]
    image[:, (step * 3) % columns :: 64] += 40
    bits = [1, 0, *((step >> bit) & 1 for bit in reversed(range(BITS)))]
    edges = np.linspace(0, columns, CELLS + 1).round().astype(int)
    for cell, bit in enumerate(bits):
        image[: round(rows * HEIGHT_SHARE), edges[cell] : edges[cell + 1]] = 255 * bit
    return image


def _any_motion(steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(T, 14). Grippers open and close, joints rest now and then: curves as of a real episode."""
    time = np.arange(steps) / 50
    phases = rng.uniform(0, 2 * np.pi, 14)
    qpos = np.sin(time[:, None] * rng.uniform(0.3, 0.9, 14) + phases) * 0.8
    qpos[:, [6, 13]] = (np.sin(time[:, None] * [0.9, 0.7] + phases[[6, 13]]) > 0) * 1.0
    return qpos


def _substep_motion(steps: int, substeps: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """(T, 14). The right arm goes evenly to another place in each substep, and stops for a moment between two; every
    second one begins with its gripper opening or closing."""
    edges = [0, *substeps, steps]
    qpos = np.zeros((steps, 14))
    arm, gripper = rng.uniform(-0.5, 0.5, 6), 0.0
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        goal = rng.uniform(-0.5, 0.5, 6)
        left = np.arange(end - start)
        speed = np.minimum(1.0, np.minimum(left, left[::-1]) / _RAMP)
        part = np.cumsum(speed) / speed.sum()
        qpos[start:end, 7:13] = arm + part[:, None] * (goal - arm)
        opening = np.minimum(1.0, left / _RAMP)
        next_gripper = 1.0 - gripper if number % 2 else gripper
        qpos[start:end, 13] = gripper + opening * (next_gripper - gripper)
        arm, gripper = goal, next_gripper
    return qpos


def write_barcode_episode(
    path: Path, *, steps: int, size: tuple[int, int] = (480, 640), seed: int = 0, substeps: Sequence[int] = ()
) -> None:
    """An unlabelled episode of `steps` (below 2 ** BITS) with three cameras at 50 Hz.

    substeps: first steps of all but the first; the motion then has these, as a real one does. Else it has none.
    """
    assert 0 < steps < 2**BITS, steps
    rng = np.random.default_rng(seed)
    time = np.arange(steps) / 50
    qpos = _substep_motion(steps, substeps, rng) if substeps else _any_motion(steps, rng)
    write_episode(
        path,
        EpisodeData(
            action=(qpos + 0.01).astype(np.float32),
            qpos=qpos.astype(np.float32),
            qvel=(np.gradient(qpos, axis=0) * 50 if steps > 1 else np.zeros_like(qpos)).astype(np.float32),
            images={
                name: [encode_jpeg(frame(step, camera, size), quality=85) for step in range(steps)]
                for camera, name in enumerate(CAMERAS)
            },
            instruction="Read the barcodes.",
            attributes=EpisodeAttributes(sim=True, fps=50.0),
            timestamp=time,
        ),
    )
