"""A patch embedding that whitens: made from images of the place where the policy will work.

Qwen2-VL's image processor subtracts no image and its patch embedding has no bias, so of random weights the constant
background takes nearly all of the output, and a small model trained from scratch sees nothing else for long. Here the
rows of the embedding are the leading directions of the patches' uncentred second moment, each divided by its size:
brightness, which every patch has, counts no more than the colour of a small thing, which few have.

Shapes: n patches, d = 588 values of a patch (3 channels, 14 x 14), w width of the vision tower.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dexvla.data.images import resize_bilinear
from dexvla.episodes.manifest import find_set
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.model.patches import Patches

# Variance along a direction that is taken for noise, in units of normalised pixels: two grey levels of 255 (JPEG at
# quality 90 in flat regions) over CLIP's standard deviation of 0.27.
_NOISE = (2 / 255 / 0.27) ** 2
_SEED = 0  # of the choice of images


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """Images to whiten with: `images` of them, spread over the episodes of `data` and their cameras.

    data: a folder of episodes, a manifest, or tasks.yaml#task. height, width: the size that the policy will see,
    pixels. cameras: the names to take; empty: those that the task names, or all that the first episode has.
    """

    data: str
    height: int
    width: int
    images: int = 300
    cameras: tuple[str, ...] = ()


def second_moment(source: ImageSource, settings: Any) -> Tensor:
    """(d, d) float64 mean of x x^T over the patches of the images, resized, cut and normalised as in training.

    settings: of the image processor.

    Raises UserError for data without images or a size that holds none, EpisodeError for an unreadable file.
    """
    if source.images < 1 or min(source.height, source.width) < 28:
        raise UserError(
            f"{source.images} images of {source.height} x {source.width} pixels: expected at least one image, and "
            "sides of 28 pixels or more"
        )
    patches, frames = Patches(settings), int(settings.temporal_patch_size)
    total, count = torch.zeros((), dtype=torch.float64), 0
    for image in _images(source):
        cut, _ = patches.cut([resize_bilinear(image, source.height, source.width)])
        values_nd = patches.normalise(cut).view(len(cut), 3, frames, -1)[:, :, 0].flatten(1).double()
        total = total + values_nd.T @ values_nd
        count += len(values_nd)
    return total / count


def whitening(moment_dd: Tensor, width: int) -> Tensor:
    """(w, d) float64: the `width` leading principal directions, scaled to unit mean square over the data.

    Directions weaker than the noise of an image stay below one. Rows stand in the order of strength and are not turned
    among themselves (as ZCA would): a LayerNorm follows, which is blind to such a turn but for the one direction it
    removes, and its gains then weigh directions that mean something. Signs: the largest entry is positive.
    """
    if width > len(moment_dd):
        raise UserError(f"{width} channels cannot be whitened from patches of {len(moment_dd)} values; expected fewer")
    strength, directions = torch.linalg.eigh(moment_dd.double())
    strength, rows_wd = strength.flip(0)[:width].clamp(min=0), directions.T.flip(0)[:width]
    largest = rows_wd.gather(1, rows_wd.abs().argmax(1, keepdim=True))
    return rows_wd * largest.sign() * (strength + _NOISE).rsqrt()[:, None]


@torch.no_grad()
def whiten(weight: Tensor, moment_dd: Tensor) -> None:
    """Fill a patch embedding (w, 3, frames, 14, 14) in place; the frames, which are equal, share evenly."""
    width, colours, frames, *side = weight.shape
    per_frame = whitening(moment_dd, width).view(width, colours, 1, *side) / frames
    weight.copy_(per_frame.expand_as(weight))


def _images(source: ImageSource) -> Iterable[NDArray[np.uint8]]:
    """Evenly many of each episode and camera, at random steps; the same ones for the same files."""
    episodes = find_set(source.data)
    cameras: Sequence[str] | None = source.cameras or episodes.cameras
    rng = np.random.default_rng(_SEED)
    paths = [episodes.paths[index] for index in rng.permutation(len(episodes.paths))]
    left = source.images
    for number, path in enumerate(paths):
        mine = -(-left // (len(paths) - number))
        if mine == 0:
            return
        with open_episode(path) as episode:
            cameras = cameras or tuple(episode.cameras)
            missing = [name for name in cameras if name not in episode.cameras]
            if missing or not cameras:
                have = ", ".join(episode.cameras) or "none"
                raise UserError(f"{path}: has cameras {have}; expected {', '.join(missing) or 'at least one'}")
            steps = min(episode.steps, episodes.episode_len or episode.steps)
            for step in np.sort(rng.choice(steps, size=min(mine, steps), replace=False)):
                yield episode.frame(cameras[int(rng.integers(len(cameras)))], int(step))
        left -= mine
