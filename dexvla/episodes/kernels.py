"""Loops over pixels, compiled by numba where it is installed. Callers have a slower way with the same bits.

Compiled once and kept on disk; the first use on a machine takes some seconds. Inputs are read-only and contiguous, so
that each function is compiled for one kind of array. Imported through `compiled` in dexvla.episodes.images alone.
"""

from typing import Any

import numba
import numpy as np

_compile = numba.njit(cache=True, nogil=True, boundscheck=False)
_ROUND, _BITS = 1 << 21, 22  # Pillow's weights have 22 fractional bits
_BLOCK = 16


@_compile
def halve(image: Any) -> Any:
    """(2H, 2W, 3) uint8 -> (H, W, 3): the rounded mean of each 2x2 block."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    half = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                upper = np.uint32(image[2 * y, 2 * x, c]) + image[2 * y, 2 * x + 1, c]
                lower = np.uint32(image[2 * y + 1, 2 * x, c]) + image[2 * y + 1, 2 * x + 1, c]
                half[y, x, c] = (upper + lower + 2) >> 2
    return half


@_compile
def weighted_rows(rows: Any, first: Any, count: Any, weight: Any) -> Any:
    """(H, W) uint8 -> (len(first), W): row y is the sum of rows[first[y] + k] * weight[y, k] for k < count[y]."""
    width = rows.shape[1]
    mixed = np.empty((len(first), width), np.uint8)
    total = np.empty(width, np.int32)
    for y in range(len(first)):
        for x in range(width):
            total[x] = _ROUND
        for k in range(count[y]):
            row, factor = rows[first[y] + k], np.int32(weight[y, k])
            for x in range(width):
                total[x] += factor * np.int32(row[x])
        out = mixed[y]
        for x in range(width):
            out[x] = np.uint8(min(max(total[x] >> _BITS, 0), 255))
    return mixed


@_compile
def enlarge(
    image: Any,
    left: Any,
    right: Any,
    weight_left: Any,
    weight_right: Any,
    upper: Any,
    lower: Any,
    weight_upper: Any,
    weight_lower: Any,
) -> Any:
    """(H, W, 3) uint8 -> (len(upper), len(left), 3): two taps along each axis, cut off to whole numbers.

    A product is rounded to float32, the other one is added to it in double precision and rounded once: the bits of a
    fused multiply-add, whatever the compiler makes of it.
    """
    height, width, rows = len(upper), len(left), image.shape[0]
    wide = np.empty((rows, 3 * width), np.float32)
    for y in range(rows):
        for x in range(width):
            a, b, first, second = left[x], right[x], weight_left[x], np.float64(weight_right[x])
            for c in range(3):
                product = np.float32(np.float32(image[y, a, c]) * first)
                wide[y, 3 * x + c] = np.float32(np.float64(product) + np.float64(image[y, b, c]) * second)
    whole = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        out, above, below = whole[y].reshape(-1), wide[upper[y]], wide[lower[y]]
        first, second = weight_upper[y], np.float64(weight_lower[y])
        for x in range(3 * width):
            product = np.float32(above[x] * first)
            out[x] = np.uint8(np.int32(np.float32(np.float64(product) + np.float64(below[x]) * second)))
    return whole


@_compile
def transpose(image: Any) -> Any:
    """(H, W, 3) -> (W, H, 3), block by block."""
    height, width = image.shape[0], image.shape[1]
    turned = np.empty((width, height, 3), np.uint8)
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            for x in range(left, min(left + _BLOCK, width)):
                for y in range(top, min(top + _BLOCK, height)):
                    turned[x, y, 0] = image[y, x, 0]
                    turned[x, y, 1] = image[y, x, 1]
                    turned[x, y, 2] = image[y, x, 2]
    return turned


@_compile
def scale_patches(patches: Any, scale: Any, offset: Any, normalised: Any) -> None:
    """(n, 3, values) uint8 -> normalised (n, 3, frames, values) float32: value * scale + offset by colour, repeated."""
    for number in range(patches.shape[0]):
        for c in range(3):
            for value in range(patches.shape[2]):
                scaled = np.float32(patches[number, c, value]) * scale[c]
                normalised[number, c, 0, value] = scaled + offset[c]
            for frame in range(1, normalised.shape[2]):
                for value in range(patches.shape[2]):
                    normalised[number, c, frame, value] = normalised[number, c, 0, value]


@_compile
def cut_patches(image: Any, side: int, merge: int, patches: Any) -> None:
    """(H, W, 3) -> patches (n, 3, side, side), merge x merge neighbours one after the other."""
    number = 0
    for block_row in range(image.shape[0] // side // merge):
        for block_column in range(image.shape[1] // side // merge):
            for row in range(merge):
                for column in range(merge):
                    top, left = (block_row * merge + row) * side, (block_column * merge + column) * side
                    for c in range(3):
                        for y in range(side):
                            for x in range(side):
                                patches[number, c, y, x] = image[top + y, left + x, c]
                    number += 1
