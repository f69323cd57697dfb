"""Picture augmentation of DexVLA: random crop to 95 % and back, rotation within 5 degrees, colour jitter.

All cameras of a sample get the same draw. The steps and their formulas are those of the reference (torchvision on
bytes), within a grey level or two, in an eighth of the time:

- the crop is resized back bilinearly with antialiasing, all cameras of a size at once;
- the rotation takes the nearest pixel, corners become black;
- brightness, contrast and saturation come in random order, each clipped to 0..255 and cut off to whole numbers.
  Contrast blends with the mean of the picture's grey version, saturation with the grey version itself. Brightness and
  contrast are tables of 256 values, saturation is a matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from dexvla.spec import AUGMENTED_CROP

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


def augment(images: Sequence[NDArray[np.uint8]], draw: Draw) -> list[NDArray[np.uint8]]:
    """(H, W, 3) uint8 pictures of one sample -> the same sizes, all changed by the same draw."""
    changed: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)] * len(images)
    for shape in {image.shape for image in images}:
        places = [place for place, image in enumerate(images) if image.shape == shape]
        for place, image in zip(places, _crop(np.stack([images[place] for place in places]), draw), strict=True):
            picture = Image.fromarray(image).rotate(draw.degrees, Image.Resampling.NEAREST)
            changed[place] = np.asarray(_jitter(picture, draw))
    return changed


def _crop(images: NDArray[np.uint8], draw: Draw) -> NDArray[np.uint8]:
    """(pictures, H, W, 3) -> the same shape: a random 95 % of each side, enlarged to the whole."""
    height, width = images.shape[1:3]
    rows, columns = int(height * AUGMENTED_CROP), int(width * AUGMENTED_CROP)
    top, left = (
        min(int(part * (free + 1)), free) for part, free in ((draw.top, height - rows), (draw.left, width - columns))
    )
    part = torch.from_numpy(images[:, top : top + rows, left : left + columns]).permute(0, 3, 1, 2)
    whole = F.interpolate(part, (height, width), mode="bilinear", antialias=True)
    return whole.permute(0, 2, 3, 1).contiguous().numpy()


def _jitter(picture: Image.Image, draw: Draw) -> Image.Image:
    brightness, contrast, saturation = draw.factors
    table = _LEVELS  # what brightness and contrast have made of each level and the picture does not show yet
    for index in draw.order:
        if index == 0:
            table = _cut_off(table * brightness)
        elif index == 1:
            histogram = np.asarray(picture.histogram()).reshape(3, 256)
            # the mean of the grey version: its values are cut off, which costs half a level on average
            grey = float(GREY @ (histogram @ table)) / histogram[0].sum() - 0.5
            table = _cut_off(table * contrast + (1 - contrast) * grey)
        else:
            mixed = saturation * np.eye(3) + (1 - saturation) * GREY
            # Pillow rounds, so half a level less is cutting off
            matrix = np.c_[mixed, np.full(3, -0.5)].ravel().tolist()
            picture, table = _show(picture, table).convert("RGB", matrix), _LEVELS
    return _show(picture, table)


def _cut_off(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.trunc(np.clip(values, 0, 255))


def _show(picture: Image.Image, table: NDArray[np.float64]) -> Image.Image:
    return picture if table is _LEVELS else picture.point(np.tile(table.astype(np.uint8), 3).tolist())
