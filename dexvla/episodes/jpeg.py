"""JPEG to RGB arrays and back: simplejpeg where it is installed (three times as fast), Pillow otherwise."""

import importlib.util
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS = 2**25  # of one image, 8K and a little; a header of a few bytes may declare 65535 x 65535
_FAST = importlib.util.find_spec("simplejpeg") is not None


def whole_jpeg(row: bytes) -> bytes:
    """A JPEG without what stands behind its end marker: padding, or the bytes that some recorders leave there."""
    data = row.rstrip(b"\0")
    if data.endswith(b"\xff\xd9"):
        return data
    end = data.rfind(b"\xff\xd9")
    return data[: end + 2] if end > 0 else data


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = 90, full_colour: bool = False) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG bytes, chroma subsampled 4:2:0; 4:4:4 where `full_colour`."""
    image = np.ascontiguousarray(image)
    if _FAST:
        import simplejpeg

        colours = "444" if full_colour else "420"
        return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling=colours))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0 if full_colour else 2)
    return buffer.getvalue()


def decode_jpeg(data: bytes | NDArray[np.uint8], *, swapped: bool = False) -> NDArray[np.uint8]:
    """JPEG bytes (zero padding after the end is fine) -> (H, W, 3) uint8 RGB. Raises ValueError if it is not JPEG.

    swapped: red and blue change places, as in files whose writer called blue red.
    """
    raw = bytes(data)
    if raw[:2] != b"\xff\xd8":
        raise ValueError("the bytes do not start like a JPEG (ff d8)")
    jpeg_size(raw)
    if _FAST:
        import simplejpeg

        return np.asarray(simplejpeg.decode_jpeg(raw, colorspace="BGR" if swapped else "RGB"))
    try:
        with Image.open(io.BytesIO(raw)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"a JPEG that cannot be decoded: {error}") from error
    return np.ascontiguousarray(pixels[..., ::-1]) if swapped else pixels


def check_jpeg(data: bytes | NDArray[np.uint8]) -> None:
    """Raise ValueError where `decode_jpeg` would, in half its time: every bit is gone through, an eighth of the rows
    and columns is made."""
    raw = bytes(data)
    if raw[:2] != b"\xff\xd8":
        raise ValueError("the bytes do not start like a JPEG (ff d8)")
    decode_reduced(raw, 1, 1, smallest=8)


def decode_reduced(data: bytes, height: int, width: int, *, smallest: int = 1) -> NDArray[np.uint8]:
    """JPEG bytes -> RGB, halved or quartered while it is decoded, as long as it stays at least height x width.

    smallest: it is reduced by this factor at least.

    Not the pixels that training sees: for previews. Raises ValueError if it is not JPEG.
    """
    jpeg_size(data)
    if _FAST:
        import simplejpeg

        return np.asarray(
            simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=height, min_width=width, min_factor=smallest)
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (width, height))
            return np.asarray(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"a JPEG that cannot be decoded: {error}") from error


def jpeg_size(data: bytes | NDArray[np.uint8]) -> tuple[int, int]:
    """(height, width) from the header alone. Raises ValueError if it is not JPEG, or too large to be a robot's."""
    raw = bytes(data)
    if not raw[:2].strip(b"\0"):
        raise ValueError("not a JPEG: it is empty")
    if _FAST:
        import simplejpeg

        try:
            height, width = simplejpeg.decode_jpeg_header(raw, strict=False)[:2]
        # ValueError also of more than 65500 rows or columns; KeyError of a sampling that it has no name for
        except (ValueError, KeyError) as error:
            raise ValueError(f"not a JPEG: {error}") from error
    else:
        try:
            with Image.open(io.BytesIO(raw)) as image:
                height, width = image.height, image.width
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"not a JPEG: {error}") from error
    if height * width > MAX_PIXELS:
        raise ValueError(f"a JPEG that declares {height} x {width} pixels, at most {MAX_PIXELS} are decoded")
    return height, width


def scans_of(data: bytes) -> int:
    """How often the image is gone through: 1, or some 10 of a progressive one. Each costs as much as decoding it."""
    return data.count(b"\xff\xda")
