"""Images to what the vision tower takes: multiples of 28 pixels, cut into patches, CLIP normalisation.

Shapes: n patches of the images, u = 588 bytes of a patch (3 channels, 14 x 14), p = 1176 values of a normalised
patch (3 channels, 2 equal frames, 14 x 14). Patches stand in the order of Qwen2-VL: 2x2 blocks that are merged later.

Cutting and normalising are two steps: bytes are an eighth of the size, so that is how images travel from the loader's
processes to the device, and the device normalises them.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dexvla.data.images import compiled, cut_patches
from dexvla.errors import UserError

_ROWS = 128  # patches normalised at once on a CPU: they stay in its cache


class Patches:
    """Cuts and normalises by the settings of a Qwen2-VL image processor (preprocessor_config.json)."""

    def __init__(self, settings: Any) -> None:
        self._side, self._merge = int(settings.patch_size), int(settings.merge_size)
        self._frames = int(settings.temporal_patch_size)
        self._bounds = (int(settings.size.shortest_edge), int(settings.size.longest_edge))
        # v * rescale, then (v - mean) / std, as one product and one sum
        mean, std = np.float64(settings.image_mean), np.float64(settings.image_std)
        if not settings.do_normalize:
            mean, std = np.zeros(3), np.ones(3)
        rescale = settings.rescale_factor if settings.do_rescale else 1.0
        self._scale = torch.from_numpy(np.float32(rescale / std)[:, None])
        self._offset = torch.from_numpy(np.float32(-mean / std)[:, None])

    def cut(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """(H, W, 3) uint8 RGB images -> patches (n, u) uint8, one image after the other, and grids (images, 3).

        An image whose sides are not multiples of 28 is resized first, by Pillow's bicubic as in the reference.
        """
        side = self._side
        sizes = [fitted_size(*image.shape[:2], side * self._merge, *self._bounds) for image in images]
        grids = [(1, height // side, width // side) for height, width in sizes]
        ends = list(accumulate(rows * columns for _, rows, columns in grids))
        patches = np.empty((ends[-1], 3 * side * side), np.uint8)
        for image, size, end, (_, rows, columns) in zip(images, sizes, ends, grids, strict=True):
            cut_patches(image, size, side, self._merge, patches[end - rows * columns : end])
        return torch.from_numpy(patches), torch.tensor(grids)

    def normalise(self, patches: Tensor) -> Tensor:
        """(n, u) uint8 -> (n, p) float32 on the same device."""
        values = patches.view(len(patches), 3, self._side**2)
        scale, offset = self._scale.to(patches.device), self._offset.to(patches.device)
        shape = (len(patches), 3, self._frames, self._side**2)
        normalised = torch.empty(shape, dtype=torch.float32, device=patches.device)
        loops = compiled() if patches.device.type == "cpu" else None
        if loops is not None:
            loops.scale_patches(
                values.contiguous().numpy(), scale[:, 0].numpy(), offset[:, 0].numpy(), normalised.numpy()
            )
            return normalised.flatten(1)
        rows = _ROWS if patches.device.type == "cpu" else max(len(patches), 1)
        for start in range(0, len(patches), rows):
            part = values[start : start + rows].float().mul_(scale).add_(offset)
            for frame in range(self._frames):
                normalised[start : start + rows, :, frame] = part
        return normalised.flatten(1)


def fitted_size(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Nearest multiples of `factor`, shrunk or grown with the aspect ratio kept until the area is within bounds."""
    if max(height, width) > 200 * min(height, width):
        raise UserError(f"an image of {height} x {width} pixels is too narrow: the sides may differ 200-fold at most")
    fitted = round(height / factor) * factor, round(width / factor) * factor
    if fitted[0] * fitted[1] > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        fitted = tuple(max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    elif fitted[0] * fitted[1] < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        fitted = tuple(math.ceil(side * grow / factor) * factor for side in (height, width))
    return fitted[0], fitted[1]
