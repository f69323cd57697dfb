"""Resizing images the way OpenCV's bilinear and Pillow's bicubic resize do, and torch's crop, to the bit.

DexVLA's training data went through `cv2.resize` (bilinear); a policy sees the same pixels only if ours agree with it.
"""

import importlib.util
import math
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_BITS = 11  # OpenCV keeps interpolation weights as integers of 11 fractional bits


def resize_bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, C) uint8 -> (height, width, C) uint8, bilinear, pixel centres at half-integers, no antialiasing.

    The arithmetic is that of OpenCV (11-bit weights, two passes; exact halving is a rounded 2x2 mean), so the result
    is the same as `cv2.resize(image, (width, height))`. Returns the image itself where the size is right already.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(f"expected a (H, W, C) uint8 image, found {image.dtype} of shape {image.shape}")
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


def resize_bicubic(image: Pixels, height: int, width: int) -> Pixels:
    """(H, W, 3) uint8 -> (height, width, 3) uint8 as Pillow's bicubic resize makes it, antialiased where it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    loops = compiled()
    if loops is None or not _like_pillow(*image.shape[:2], height, width):
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    return _bicubic_planes(loops, image, height, width).transpose(0, 2, 1)


def _bicubic_planes(loops: ModuleType, image: Pixels, height: int, width: int) -> Pixels:
    """(H, W, 3) -> (height, 3, width). Columns first, as sums of the rows of the transposed image, because those are
    the fast direction."""
    if image.shape[1] != width:
        columns = loops.planes_by_column(fixed(image))
        mixed = loops.weighted_rows(fixed(columns.reshape(len(columns), -1)), *_bicubic(image.shape[1], width))
        planes = loops.planes_by_row(fixed(mixed.reshape(width, 3, -1)))
    else:
        planes = np.ascontiguousarray(image.transpose(0, 2, 1))
    if len(planes) != height:
        rows = fixed(planes.reshape(len(planes), -1))
        planes = loops.weighted_rows(rows, *_bicubic(len(planes), height)).reshape(height, 3, width)
    return cast(Pixels, planes)


@lru_cache(maxsize=64)
def _like_pillow(rows: int, columns: int, height: int, width: int) -> bool:
    """Whether the compiled resize has Pillow's bits between these sizes: some releases take rows first for some."""
    loops = compiled()
    noise = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
    if loops is None:
        return False
    return np.array_equal(_bicubic_planes(loops, noise, height, width).transpose(0, 2, 1), theirs)


def centre_crop(image: Pixels, part: float) -> Pixels:
    """(H, W, 3) uint8 -> the same shape: the middle `part` (0..1) of each side, enlarged to the whole.

    The arithmetic is that of the reference's evaluation (torchvision: bilinear in float32, then cut off to whole
    numbers), and so is the box: int(side * (1 - part) / 2) up to int(side * (1 + part) / 2), at least one pixel.
    Returns the image itself where that is all of it.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) uint8 image, found {image.dtype} of shape {image.shape}")
    if not 0 < part <= 1:
        raise ValueError(f"the part of an image that a crop keeps is {part}, expected more than 0 and at most 1")
    height, width = image.shape[:2]
    top, bottom = _middle(height, part)
    left, right = _middle(width, part)
    if (bottom - top, right - left) == (height, width):
        return image
    middle = image[top:bottom, left:right]
    columns, rows = _enlarging(right - left, width), _enlarging(bottom - top, height)
    loops = compiled()
    if loops is not None:
        return cast(Pixels, loops.enlarge(fixed(middle), *columns, *rows))
    turned = _mixed_rows(middle.transpose(1, 0, 2), *columns)  # rows are the fast direction
    return _mixed_rows(turned.transpose(1, 0, 2), *rows).astype(np.uint8)


def _middle(side: int, part: float) -> tuple[int, int]:
    start = int(side * (1 - part) / 2)
    return start, max(int(side * (1 + part) / 2), start + 1)


def _mixed_rows(
    image: NDArray[Any],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    weight_first: NDArray[np.float32],
    weight_second: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Two rows of (H, W, 3) for each of the result. One product is rounded to float32, the other one is added to it in
    one rounding: torch's fused multiply-add."""
    rows = np.ascontiguousarray(image, dtype=np.float32).reshape(len(image), -1)
    mixed = (rows[first] * weight_first[:, None]).astype(np.float64)
    mixed += rows[second] * weight_second.astype(np.float64)[:, None]
    return mixed.astype(np.float32).reshape(len(first), *image.shape[1:])


def cut_patches(image: Pixels, size: tuple[int, int], side: int, merge: int, patches: Pixels) -> None:
    """(H, W, 3), resized to (height, width) by `resize_bicubic` -> patches (n, 3 * side * side), in place.

    merge x merge neighbours stand one after the other.
    """
    loops = compiled()
    if loops is not None and image.shape[:2] != size and _like_pillow(*image.shape[:2], *size):
        planes = _bicubic_planes(loops, image, *size)
        loops.cut_planes(fixed(planes), side, merge, patches.reshape(-1, 3, side, side))
        return
    image = resize_bicubic(image, *size)
    if loops is not None:
        loops.cut_patches(fixed(image), side, merge, patches.reshape(-1, 3, side, side))
        return
    rows, columns = image.shape[0] // side // merge, image.shape[1] // side // merge
    blocks = image.reshape(rows, merge, side, columns, merge, side, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    patches.reshape(blocks.shape)[...] = blocks


@cache
def compiled() -> ModuleType | None:
    """The compiled loops, or None where numba is not installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    from dexvla.data import kernels

    return kernels


def fixed(image: Pixels) -> Pixels:
    """The same pixels as a plain, contiguous, read-only array."""
    fixed = np.ascontiguousarray(image).view()
    fixed.flags.writeable = False
    return fixed


@lru_cache(maxsize=64)
def _bicubic(source: int, target: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Pillow's bicubic (a = -0.5) along one axis: first source pixel, number of them, weights with 22 bits."""
    scale = source / target
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    first, count = np.zeros(target, np.int32), np.zeros(target, np.int32)
    weights = np.zeros((target, 2 * math.ceil(support) + 1), np.int32)
    for place in range(target):
        centre = (place + 0.5) * scale
        low = max(0, int(centre - support + 0.5))
        high = min(source, int(centre + support + 0.5))
        taps = [_cubic((tap + low - centre + 0.5) / stretch) for tap in range(high - low)]
        total = sum(taps)
        first[place], count[place] = low, high - low
        for tap, value in enumerate(taps):
            scaled = value / total * (1 << 22)
            weights[place, tap] = int(scaled - 0.5) if scaled < 0 else int(scaled + 0.5)
    for table in (first, count, weights):
        table.setflags(write=False)
    return first, count, weights


@lru_cache(maxsize=64)
def _enlarging(
    source: int, target: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """torch's bilinear taps along one axis that grows: two source pixels of every target pixel and their weights."""
    half = np.float32(0.5)
    centre = (np.arange(target, dtype=np.float32) + half) * (np.float32(source) / np.float32(target))
    first = np.maximum(np.trunc(centre - half), 0).astype(np.int64)
    count = np.minimum(np.trunc(centre + np.float32(1.5)).astype(np.int64), source) - first
    weights = [
        np.maximum(1 - np.abs((first + tap).astype(np.float32) - centre + half), np.float32(0)) for tap in range(2)
    ]
    weights[1][count < 2] = 0
    total = weights[0] + weights[1]
    tables = first, np.minimum(first + 1, source - 1), weights[0] / total, weights[1] / total
    for table in tables:
        table.setflags(write=False)
    return tables


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.shape[2] == 3:
        loops = compiled()
        if loops is not None:
            return cast(Pixels, loops.halve(fixed(image)))
        # Pillow's box reduction is the same rounded mean, in half of numpy's time
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
