"""Image augmentation of DexVLA: random crop to 95 % and back, rotation within 5 degrees, colour jitter.

All cameras of a sample get the same draw. The steps and their formulas are those of the reference (torchvision on
bytes), within a grey level or two, in a tenth of the time:

- the crop is resized back bilinearly with antialiasing, all cameras of a size at once;
- the rotation takes the nearest pixel, corners become black;
- brightness, contrast and saturation come in random order, each clipped to 0..255 and cut off to whole numbers.
  Contrast blends with the mean of the image's grey version, saturation with the grey version itself. Brightness and
  contrast are tables of 256 values, saturation is a matrix.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from dexvla.data.images import compiled, fixed
from dexvla.spec import AUGMENTED_CROP

Pixels = NDArray[np.uint8]

MAX_DEGREES = 5.0
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5
GREY = np.array([0.2989, 0.587, 0.114])  # torchvision's weights of red, green and blue
_LEVELS = np.arange(256.0)


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One random choice. left, top: 0..1 of the free margin; degrees: counter-clockwise; factors: 1 changes nothing.

    factors: brightness, contrast, saturation; order: in which these three come.
    """

    left: float
    top: float
    degrees: float
    factors: tuple[float, float, float]
    order: tuple[int, int, int]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(
            left=rng.uniform(),
            top=rng.uniform(),
            degrees=rng.uniform(-MAX_DEGREES, MAX_DEGREES),
            factors=(
                rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS),
                rng.uniform(1 - CONTRAST, 1 + CONTRAST),
                rng.uniform(1 - SATURATION, 1 + SATURATION),
            ),
            order=tuple(rng.permutation(3).tolist()),
        )


def augment(images: Sequence[Pixels], draw: Draw) -> list[Pixels]:
    """(H, W, 3) uint8 images of one sample -> the same sizes, all changed by the same draw."""
    changed: list[Pixels] = [np.empty(0, np.uint8)] * len(images)
    kind = _Compiled if _compiled_like_pillow() else _ByPillow
    for shape in {image.shape for image in images}:
        places = [place for place, image in enumerate(images) if image.shape == shape]
        for place, image in zip(places, _crop(np.stack([images[place] for place in places]), draw), strict=True):
            changed[place] = _jitter(kind.turned(image, draw.degrees), draw)
    return changed


def _crop(images: Pixels, draw: Draw) -> Pixels:
    """(images, H, W, 3) -> the same shape: a random 95 % of each side, enlarged to the whole."""
    height, width = images.shape[1:3]
    rows, columns = int(height * AUGMENTED_CROP), int(width * AUGMENTED_CROP)
    top, left = (
        min(int(part * (free + 1)), free) for part, free in ((draw.top, height - rows), (draw.left, width - columns))
    )
    part = torch.from_numpy(images[:, top : top + rows, left : left + columns]).permute(0, 3, 1, 2)
    whole = F.interpolate(part, (height, width), mode="bilinear", antialias=True)
    return whole.permute(0, 2, 3, 1).contiguous().numpy()


def _jitter(image: "_Jittered", draw: Draw) -> Pixels:
    brightness, contrast, saturation = draw.factors
    table = _LEVELS  # what brightness and contrast have made of each level and the image does not show yet
    for index in draw.order:
        if index == 0:
            table = _cut_off(table * brightness)
        elif index == 1:
            sums, pixels = image.sums(table)
            # the mean of the grey version: its values are cut off, which costs half a level on average
            grey = float(GREY @ sums) / pixels - 0.5
            table = _cut_off(table * contrast + (1 - contrast) * grey)
        else:
            mixed = saturation * np.eye(3) + (1 - saturation) * GREY
            # both ways round, so half a level less is cutting off
            image, table = image.mixed(table, np.c_[mixed, np.full(3, -0.5)]), _LEVELS
    return image.shown(table)


def _cut_off(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.trunc(np.clip(values, 0, 255))


class _Jittered(Protocol):
    """What jitter needs of an image. Tables say what becomes of each of the 256 levels; they hold whole numbers."""

    @classmethod
    def turned(cls, image: Pixels, degrees: float) -> Self:
        """Counter-clockwise about the middle, nearest pixel, black corners."""
        ...

    def sums(self, table: NDArray[np.float64]) -> tuple[NDArray[Any], int]:
        """(3,) sums of each colour after the table, and the number of pixels."""
        ...

    def mixed(self, table: NDArray[np.float64], matrix: NDArray[np.float64]) -> "_Jittered":
        """The table, then a (3, 4) matrix over the colours of each pixel and 1, rounded and clipped."""
        ...

    def shown(self, table: NDArray[np.float64]) -> Pixels: ...


class _ByPillow:
    def __init__(self, image: Image.Image) -> None:
        self._image = image

    @classmethod
    def turned(cls, image: Pixels, degrees: float) -> Self:
        return cls(Image.fromarray(image).rotate(degrees, Image.Resampling.NEAREST))

    def sums(self, table: NDArray[np.float64]) -> tuple[NDArray[Any], int]:
        histogram = np.asarray(self._image.histogram()).reshape(3, 256)
        return histogram @ table, int(histogram[0].sum())

    def mixed(self, table: NDArray[np.float64], matrix: NDArray[np.float64]) -> "_ByPillow":
        return _ByPillow(self._looked_up(table).convert("RGB", matrix.ravel().tolist()))

    def shown(self, table: NDArray[np.float64]) -> Pixels:
        return np.asarray(self._looked_up(table))

    def _looked_up(self, table: NDArray[np.float64]) -> Image.Image:
        return self._image if table is _LEVELS else self._image.point(np.tile(table.astype(np.uint8), 3).tolist())


class _Compiled:
    """The same bits in half of the time."""

    def __init__(self, image: Pixels) -> None:
        self._image = image

    @classmethod
    def turned(cls, image: Pixels, degrees: float) -> Self:
        loops = compiled()
        assert loops is not None
        return cls(loops.turn(fixed(image), *_fixed_point_rotation(degrees, *image.shape[:2])))

    def sums(self, table: NDArray[np.float64]) -> tuple[NDArray[Any], int]:
        loops = compiled()
        assert loops is not None
        return loops.colour_sums(fixed(self._image), table.astype(np.int64)), self._image.size // 3

    def mixed(self, table: NDArray[np.float64], matrix: NDArray[np.float64]) -> "_Compiled":
        loops = compiled()
        assert loops is not None
        return _Compiled(loops.mix_colours(fixed(self._image), table.astype(np.float32), matrix.astype(np.float32)))

    def shown(self, table: NDArray[np.float64]) -> Pixels:
        loops = compiled()
        assert loops is not None
        if table is _LEVELS:
            return self._image
        shown: Pixels = loops.look_up(fixed(self._image), table.astype(np.uint8))
        return shown


def _fixed_point_rotation(degrees: float, height: int, width: int) -> tuple[int, ...]:
    """Pillow's rotation about the middle as whole numbers of 16 fractional bits: what `turn` takes."""
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    rows = []
    for (x, y), centre in (((cos, sin), width / 2), ((round(-math.sin(angle), 15), cos), height / 2)):
        start = x * (-width / 2) + y * (-height / 2) + centre
        rows += [math.floor(value * 65536 + 0.5) for value in (x, y, start + x * 0.5 + y * 0.5)]
    return tuple(rows)


@cache
def _compiled_like_pillow() -> bool:
    """Whether the compiled loops are there and have the bits of the Pillow that is installed."""
    if compiled() is None:
        return False
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    draws = [Draw.sample(np.random.default_rng(seed)) for seed in range(6)]
    return all(
        np.array_equal(_jitter(_Compiled.turned(noise, draw.degrees), draw),
                       _jitter(_ByPillow.turned(noise, draw.degrees), draw))
        for draw in draws
    )  # fmt: skip
