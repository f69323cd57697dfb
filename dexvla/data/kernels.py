"""Loops over pixels, compiled by numba where it is installed. Callers have a slower way with the same bits.

Compiled once and kept on disk; the first use on a machine takes some seconds. Inputs are read-only and contiguous, so
that each function is compiled for one kind of array. Imported through `compiled` in dexvla.data.images alone.
"""

from typing import Any

import numba
import numpy as np

_compile = numba.njit(cache=True, nogil=True, boundscheck=False)
_ROUND, _BITS = 1 << 21, 22  # Pillow's weights have 22 fractional bits
_BLOCK = 32


@_compile
def halve(image: Any) -> Any:
    """(2H, 2W, 3) uint8 -> (H, W, 3): the rounded mean of each 2x2 block."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    half = np.empty((height, width, 3), np.uint8)
    pairs = np.empty(6 * width, np.uint16)  # of rows first, which is the fast direction
    for y in range(height):
        upper, lower, out = image[2 * y].reshape(-1), image[2 * y + 1].reshape(-1), half[y].reshape(-1)
        for x in range(6 * width):
            pairs[x] = np.uint16(upper[x]) + np.uint16(lower[x])
        for x in range(width):
            for c in range(3):
                out[3 * x + c] = (pairs[6 * x + c] + pairs[6 * x + 3 + c] + 2) >> 2
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
def planes_by_column(image: Any) -> Any:
    """(H, W, 3) -> (W, 3, H), block by block."""
    height, width = image.shape[0], image.shape[1]
    turned = np.empty((width, 3, height), np.uint8)
    for top in range(0, height, _BLOCK):
        for x in range(width):
            for y in range(top, min(top + _BLOCK, height)):
                turned[x, 0, y] = image[y, x, 0]
                turned[x, 1, y] = image[y, x, 1]
                turned[x, 2, y] = image[y, x, 2]
    return turned


@_compile
def planes_by_row(columns: Any) -> Any:
    """(W, 3, H) -> (H, 3, W), block by block."""
    width, height = columns.shape[0], columns.shape[2]
    turned = np.empty((height, 3, width), np.uint8)
    for left in range(0, width, _BLOCK):
        for c in range(3):
            for y in range(height):
                for x in range(left, min(left + _BLOCK, width)):
                    turned[y, c, x] = columns[x, c, y]
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


@_compile
def cut_planes(planes: Any, side: int, merge: int, patches: Any) -> None:
    """(H, 3, W) -> patches (n, 3, side, side), in the order of `cut_patches`."""
    number = 0
    for block_row in range(planes.shape[0] // side // merge):
        for block_column in range(planes.shape[2] // side // merge):
            for row in range(merge):
                for column in range(merge):
                    top, left = (block_row * merge + row) * side, (block_column * merge + column) * side
                    for c in range(3):
                        for y in range(side):
                            for x in range(side):
                                patches[number, c, y, x] = planes[top + y, c, left + x]
                    number += 1


@_compile
def turn(image: Any, ax: int, ay: int, a: int, bx: int, by: int, b: int) -> Any:
    """(H, W, 3) uint8 -> the same shape: pixel (x, y) from column a + ax x + ay y, row b + bx x + by y; black outside.

    Places have 16 fractional bits, which are cut off, as in Pillow.
    """
    height, width = image.shape[0], image.shape[1]
    source = image.reshape(-1)
    turned = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        out = turned[y].reshape(-1)
        low, high = 0, width  # a line meets an image in one piece
        while low < width and not (0 <= (a + low * ax) >> 16 < width and 0 <= (b + low * bx) >> 16 < height):
            low += 1
        while high > low:
            last = high - 1
            if 0 <= (a + last * ax) >> 16 < width and 0 <= (b + last * bx) >> 16 < height:
                break
            high = last
        out[: 3 * low] = 0
        out[3 * high :] = 0
        column, row = a + low * ax, b + low * bx
        for x in range(low, high):
            place = 3 * ((row >> 16) * width + (column >> 16))
            out[3 * x], out[3 * x + 1], out[3 * x + 2] = source[place], source[place + 1], source[place + 2]
            column += ax
            row += bx
        a += ay
        b += by
    return turned


@_compile
def colour_sums(image: Any, table: Any) -> Any:
    """(H, W, 3) uint8 -> (3,) int64: the sum of table[value] by colour."""
    values = image.reshape(-1)
    red, green, blue = np.int64(0), np.int64(0), np.int64(0)
    for place in range(0, len(values), 3):
        red += table[values[place]]
        green += table[values[place + 1]]
        blue += table[values[place + 2]]
    return np.array([red, green, blue])


@_compile
def look_up(image: Any, table: Any) -> Any:
    """table[value] of every value, uint8."""
    shown = np.empty(image.shape, np.uint8)
    values, out = image.reshape(-1), shown.reshape(-1)
    for place in range(len(values)):
        out[place] = table[values[place]]
    return shown


@_compile
def mix_colours(image: Any, table: Any, matrix: Any) -> Any:
    """(H, W, 3) uint8 -> the same shape: matrix (3, 4) float32 times (table[r], table[g], table[b], 1), rounded.

    Summed from left to right in float32, as in Pillow.
    """
    height, width = image.shape[0], image.shape[1]
    mixed = np.empty((height, width, 3), np.uint8)
    colours, results = np.empty((3, width), np.float32), np.empty((3, width), np.uint8)
    low, high, half = np.float32(0), np.float32(255), np.float32(0.5)
    for y in range(height):
        values, out = image[y].reshape(-1), mixed[y].reshape(-1)
        for x in range(width):
            for c in range(3):
                colours[c, x] = table[values[3 * x + c]]
        for c in range(3):
            red, green, blue, rest = matrix[c, 0], matrix[c, 1], matrix[c, 2], matrix[c, 3]
            for x in range(width):
                value = red * colours[0, x] + green * colours[1, x] + blue * colours[2, x] + rest + half
                results[c, x] = np.uint8(np.int32(min(max(value, low), high)))
        for x in range(width):
            for c in range(3):
                out[3 * x + c] = results[c, x]
    return mixed
