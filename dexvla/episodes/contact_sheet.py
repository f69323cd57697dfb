"""Contact sheets: frames of an episode side by side, each with its step number, for models that see images only."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dexvla.episodes.reader import Episode

_COLUMNS = 4
_ROWS = 4
_GAP = 4  # pixels
_NUMBER = 18  # height of the step number, pixels
_QUALITY = 80
_WIDEST = 4  # times as wide as high; a strip of pixels is squeezed


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """steps: shown, row by row. jpeg: the image."""

    steps: tuple[int, ...]
    jpeg: bytes


def even_steps(steps: int, frames: int) -> list[int]:
    """At most `frames` steps, evenly over 0 .. steps - 1, first and last included."""
    return sorted(set(np.linspace(0, steps - 1, min(frames, steps)).round().astype(int).tolist()))


def contact_sheets(episode: Episode, cameras: Sequence[str], steps: Sequence[int], *, height: int = 168) -> list[Sheet]:
    """Sheets of up to 16 tiles; a tile shows one step: its number and all `cameras` side by side, `height` rows each.

    Raises EpisodeError for a camera that the episode does not have or an image that cannot be read.
    """
    size = _COLUMNS * _ROWS
    return [_sheet(episode, cameras, steps[first : first + size], height) for first in range(0, len(steps), size)]


def _sheet(episode: Episode, cameras: Sequence[str], steps: Sequence[int], height: int) -> Sheet:
    tiles = [_tile(episode, cameras, step, height) for step in steps]
    width, tall = tiles[0].size
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (tall + _GAP) - _GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * (width + _GAP), index // columns * (tall + _GAP)))
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=_QUALITY)
    return Sheet(steps=tuple(steps), jpeg=content.getvalue())


def _tile(episode: Episode, cameras: Sequence[str], step: int, height: int) -> Image.Image:
    """The number stands above the images, not on them."""
    images = []
    for camera in cameras:
        rows, columns = episode.frame_size(camera)
        image = Image.fromarray(episode.frame(camera, step))
        width = min(max(1, round(columns * height / rows)), _WIDEST * height)
        images.append(image.resize((width, height), Image.Resampling.BILINEAR))
    tile = Image.new("RGB", (sum(image.width for image in images), height + _NUMBER), "black")
    left = 0
    for image in images:
        tile.paste(image, (left, _NUMBER))
        left += image.width
    ImageDraw.Draw(tile).text((3, 1), f"step {step}", fill="white", font=ImageFont.load_default(_NUMBER - 4))
    return tile
