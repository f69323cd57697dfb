"""Picture augmentation of DexVLA: random crop to 95 %, rotation within 5 degrees, colour jitter; one draw a sample.

All cameras of a sample get the same draw. On Pillow, which does each step in compiled code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

CROP = 0.95
MAX_DEGREES = 5.0
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.5


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One random choice. left, top: 0..1 of the free margin; degrees: counter-clockwise; factors: 1 changes nothing."""

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
    return [_augment_one(image, draw) for image in images]


def _augment_one(image: NDArray[np.uint8], draw: Draw) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    crop_height, crop_width = int(height * CROP), int(width * CROP)
    left = round(draw.left * (width - crop_width))
    top = round(draw.top * (height - crop_height))
    picture = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, left + crop_width, top + crop_height)
    )
    picture = picture.rotate(draw.degrees, Image.Resampling.NEAREST)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for index in draw.order:
        picture = enhancers[index](picture).enhance(draw.factors[index])
    return np.asarray(picture)
