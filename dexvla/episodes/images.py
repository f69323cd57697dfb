"""Resizing pictures the way OpenCV's bilinear resize does, without OpenCV.

DexVLA's training data went through `cv2.resize` (bilinear); a policy sees the same pixels only if ours agree with it.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS = 11  # OpenCV keeps interpolation weights as integers of 11 fractional bits


def resize_bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, C) uint8 -> (height, width, C) uint8, bilinear, pixel centres at half-integers, no antialiasing.

    The arithmetic is that of OpenCV (11-bit weights, two passes; exact halving is a rounded 2x2 mean), so the result
    is the same as `cv2.resize(image, (width, height))`. Returns the picture itself where the size is right already.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(f"expected a (H, W, C) uint8 picture, found {image.dtype} of shape {image.shape}")
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    if rows == 2 * height and columns == 2 * width:
        return _halve(image)
    left, right, weight_left, weight_right = _taps(columns, width, snap=True)
    top, bottom, weight_top, weight_bottom = _taps(rows, height, snap=False)
    # Only the rows that are asked for go through the horizontal pass.
    used, where = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    source = image[used].astype(np.int32)
    wide = source[:, left] * weight_left[None, :, None] + source[:, right] * weight_right[None, :, None]
    wide >>= 4
    upper, lower = wide[where[:height]], wide[where[height:]]
    mixed = ((upper * weight_top[:, None, None]) >> 16) + ((lower * weight_bottom[:, None, None]) >> 16)
    return np.asarray((mixed + 2) >> 2, dtype=np.uint8)


def _halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.shape[2] == 3:  # Pillow's box reduction is the same rounded mean, in half the time
        return np.asarray(Image.fromarray(image).reduce(2))
    pairs = image[0::2].astype(np.uint16)
    pairs += image[1::2]
    total = pairs[:, 0::2] + pairs[:, 1::2]
    return np.asarray((total + 2) >> 2, dtype=np.uint8)


@lru_cache(maxsize=64)
def _taps(
    source: int, target: int, *, snap: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int32], NDArray[np.int32]]:
    """For every target pixel along one axis: its two source pixels and their integer weights, which sum to 2**11.

    Beyond the border both taps are the border pixel. `snap` gives the first the whole weight there, as OpenCV does
    along rows but not along columns; it matters because each product is cut off on its own.
    """
    position = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if snap:
        fraction[(first < 0) | (first >= source - 1)] = 0
    scale = np.float32(1 << _BITS)
    weight_first = np.rint((np.float32(1) - fraction) * scale).astype(np.int32)
    weight_second = np.rint(fraction * scale).astype(np.int32)
    second = np.clip(first + 1, 0, source - 1)
    first = np.clip(first, 0, source - 1)
    for table in (first, second, weight_first, weight_second):
        table.setflags(write=False)
    return first, second, weight_first, weight_second
