"""The images of one camera as they stand in a file from anywhere, and as we see them: pixels or JPEG rows.

What a camera holds is decided by its dtype, its shape and the first bytes of its rows; attributes only say what those
leave open. Depth is no image. Everything that is not JPEG becomes (H, W, 3) uint8 pixels, without a loss.
"""

import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dexvla.episodes import bounds
from dexvla.episodes.entries import H5PY_ERRORS, Entries, UnfitError, first_line
from dexvla.episodes.format import IMAGES, JPEG_CHANNELS
from dexvla.episodes.jpeg import MAX_PIXELS, decode_jpeg, jpeg_size
from dexvla.errors import EpisodeError

Pixels = NDArray[np.uint8]

_BLOCK_BYTES = 2**26  # of one camera, unpacked at once
_BLOCKS_BYTES = 3 * 2**26  # of all cameras of a file
_LOSSLESS = ("PNG", "WEBP", "BMP")  # what Pillow may take encoded rows for
_DEPTH_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_INNER = ("rgb", "color", "colour", "image", "images", "data", "frames")  # in a group: the dataset of the images
_GREY, _ALPHA = 1, 4


class Blocks:
    """Unpacked stretches of cameras whose chunks hold several steps, the latest of all cameras of a file."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, NDArray[Any]]] = OrderedDict()

    def row(self, dataset: h5py.Dataset, step: int) -> Any:
        name = str(dataset.name)
        first, block = self._kept.get(name, (0, np.zeros(0, np.uint8)))
        if not first <= step < first + len(block):
            first, last = _stretch(dataset, step)
            self._kept.pop(name, None)
            block = dataset[first:last]
            self._kept[name] = first, block
            while len(self._kept) > 1 and sum(each.nbytes for _, each in self._kept.values()) > _BLOCKS_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return block[step - first]


def _plain_row(dataset: h5py.Dataset, shape: tuple[int, ...], step: int) -> Pixels:
    _, data = dataset.id.read_direct_chunk((step, *(0,) * len(shape)))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _stretch(dataset: h5py.Dataset, step: int) -> tuple[int, int]:
    """The steps around `step` that lie in the same chunks, or as many of them as fit into memory."""
    deep = dataset.chunks[0]
    row = max(1, int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize)
    most = max(1, min(deep, _BLOCK_BYTES // row))
    chunk = step // deep * deep
    first = chunk + (step - chunk) // most * most
    return first, min(first + most, chunk + deep, dataset.shape[0])


@dataclass(frozen=True, kw_only=True)
class Camera:
    """name: as we call it. jpeg: its rows are JPEG bytes. swapped: red and blue are the wrong way round in what a
    decoder makes of a row; for pixels that were stored as such never.

    pixels: from a row as HDF5 gives it, (H, W, 3) RGB; None for JPEG. size: height and width of a row by its header;
    fixed_size: of all of them, where the dataset's shape says it. recoded: its rows were encoded without a loss; then
    `swapped` tells what a decoder makes of them, which `pixels` has turned already.
    """

    name: str
    dataset: h5py.Dataset
    row_shape: tuple[int, ...]
    jpeg: bool
    swapped: bool
    pixels: Callable[[Any], Pixels] | None
    size: Callable[[Any], tuple[int, int]]
    fixed_size: tuple[int, int] | None
    recoded: bool
    plain: bool
    blocks: Blocks

    def row(self, step: int) -> Any:
        """As HDF5 gives it. Raises what h5py raises."""
        if self.plain:  # HDF5 hands the bytes over as they are: twice as fast for plain images
            return _plain_row(self.dataset, self.row_shape, step)
        chunks = self.dataset.chunks
        if chunks is not None and chunks[0] > 1 and self.dataset.compression is not None:
            return self.blocks.row(self.dataset, step)
        return self.dataset[step]

    @property
    def longest_row(self) -> int:
        """Bytes that a JPEG row may have, 0 for pixels."""
        return int(self.dataset.shape[-1]) if self.jpeg and self.dataset.ndim > 1 else 0

    def stored(self, step: int) -> Pixels:
        """JPEG bytes (P,), or pixels (H, W, 3) RGB. Raises ValueError for what is neither."""
        row = self.row(step)
        return as_bytes(row) if self.pixels is None else self.pixels(row)

    def frame(self, stored: Pixels) -> Pixels:
        """(H, W, 3) RGB from what `stored` gave. Raises ValueError."""
        return decode_jpeg(stored, swapped=self.swapped) if self.jpeg else stored


def cameras_of(
    entries: Entries, steps: int, names: dict[str, str], *, rgb: bool, compress: bool | None
) -> list[Camera]:
    """The cameras of a file, by their safe names. rgb, compress: what the file's attributes say of JPEG rows.

    What is no image is left out with a warning. Raises EpisodeError if nothing is left, or for a camera whose steps are
    not the action's.
    """
    found: list[Camera] = []
    unfit: list[UnfitError] = []
    blocks = Blocks()
    for original, name in names.items():
        try:
            dataset = _dataset_of(entries, f"{IMAGES}/{original}")
            found.append(_camera(entries, name, dataset, steps, blocks, rgb=rgb, compress=compress))
        except UnfitError as error:
            unfit.append(error)
    if not found:
        raise unfit[0]
    for left_out in unfit:
        entries.warn(f"{str(left_out).removeprefix(f'{entries.path}: ')}; left out")
    return sorted(found, key=lambda camera: camera.name)


def _dataset_of(entries: Entries, name: str) -> h5py.Dataset:
    """The dataset itself, or that of the images in a group."""
    item = entries.item(name)
    if not isinstance(item, h5py.Group):
        return entries.readable(name, item)
    inner = [each for each in sorted(item) if isinstance(item[each], h5py.Dataset)]
    usual = [each for each in _INNER if each in inner]
    likely = usual or [each for each in inner if "depth" not in each.lower()]
    if not likely or (len(likely) > 1 and not usual):
        raise entries.unfit(f"camera {name} is a group that holds {', '.join(sorted(item)[:8]) or 'nothing'}")
    others = [each for each in sorted(item) if each != likely[0]]
    beside = f", {', '.join(others[:8])} beside it left out" if others else ""
    entries.warn(f"camera {name.rpartition('/')[2]} is a group; its dataset {likely[0]} is read{beside}")
    return entries.dataset(f"{name}/{likely[0]}")


def _camera(
    entries: Entries, name: str, dataset: h5py.Dataset, steps: int, blocks: Blocks, *, rgb: bool, compress: bool | None
) -> Camera:
    expected = "expected uint8 (T, height, width, 3) pixels, or JPEG or PNG rows"
    shown = f"camera {name} is {dataset.dtype} {dataset.shape}"
    if not dataset.ndim or 0 in dataset.shape:
        raise entries.unfit(f"{shown}, {expected} with T = {steps}")
    own = None
    if JPEG_CHANNELS in dataset.attrs:
        own = entries.optional(lambda: entries.word(JPEG_CHANNELS, str(dataset.name)))
    swapped = own == "bgr" if own in ("rgb", "bgr") else not rgb
    kind = dataset.dtype.kind
    plain = dataset.dtype == np.uint8 and _one_plain_chunk_a_step(dataset)
    encoded = (
        h5py.check_vlen_dtype(dataset.dtype) is not None
        or h5py.check_string_dtype(dataset.dtype) is not None
        or (kind == "V" and dataset.dtype.fields is None)
        or (
            kind in "ui"
            and dataset.dtype.itemsize == 1
            and (dataset.ndim == 2 or (dataset.ndim == 3 and dataset.shape[1] == 1))
        )
    )
    if encoded and dataset.ndim in (1, 2, 3) and (kind in "ui" or dataset.size == dataset.shape[0]):
        pixels, size = _encoded(entries, name, dataset, shown, swapped=swapped, plain=plain, compress=compress)
        jpeg, fixed_size = pixels is None, None
    else:
        pixels, height, width = _pixels(entries, name, dataset, f"{shown}, {expected} with T = {steps}")
        jpeg, swapped, size, fixed_size = False, False, jpeg_size_of, (height, width)

    _check_rows(entries, name, dataset, steps, f"{shown}, {expected}")
    return Camera(
        name=name,
        dataset=dataset,
        row_shape=dataset.shape[1:],
        jpeg=jpeg,
        swapped=swapped,
        pixels=pixels,
        size=size,
        fixed_size=fixed_size,
        recoded=encoded and not jpeg,
        plain=plain,
        blocks=blocks,
    )


def _check_rows(entries: Entries, name: str, dataset: h5py.Dataset, steps: int, shown: str) -> None:
    if dataset.shape[0] == steps + 1:
        entries.warn(f"camera {name} has {steps + 1} frames, action has {steps}; the last one is left out")
    elif dataset.shape[0] != steps:
        raise EpisodeError(f"{entries.path}: {shown} with T = {steps}")


# --- rows of bytes ----------------------------------------------------------------------------------------


def _encoded(
    entries: Entries,
    name: str,
    dataset: h5py.Dataset,
    shown: str,
    *,
    swapped: bool,
    plain: bool,
    compress: bool | None,
) -> tuple[Callable[[Any], Pixels] | None, Callable[[Any], tuple[int, int]]]:
    """How the rows are read; None for JPEG, which stays as it is."""
    first = b""
    for step in dict.fromkeys((0, dataset.shape[0] // 2, dataset.shape[0] - 1)):
        try:
            first = (
                as_bytes(_plain_row(dataset, dataset.shape[1:], step) if plain else dataset[step])
                .tobytes()
                .rstrip(b"\0")
            )
        except H5PY_ERRORS as error:
            raise entries.unfit(f"camera {name}, step {step} cannot be read: {first_line(error)}") from error
        if first:
            break
    if first.startswith(b"\xff\xd8") or (compress and not _is_lossless(first)):
        return None, jpeg_size_of
    if not _is_lossless(first):
        raise entries.unfit(f"{shown}, and its rows begin with {first[:8].hex(' ') or 'nothing'}: no JPEG and no PNG")
    try:
        mode = open_image(first).mode
    except ValueError as error:
        raise entries.unfit(f"camera {name}: {error}") from error
    if mode in _DEPTH_MODES:
        raise entries.unfit(f"camera {name} holds PNG rows of depth (mode {mode})")
    if mode in ("RGBA", "LA", "PA"):
        entries.warn(f"camera {name} has transparency, which is not kept")

    def decode(row: Any) -> Pixels:
        pixels = np.asarray(open_image(as_bytes(row).tobytes()).convert("RGB"))
        return np.ascontiguousarray(pixels[..., ::-1]) if swapped else pixels

    def size(row: Any) -> tuple[int, int]:
        image = open_image(as_bytes(row).tobytes())
        return image.height, image.width

    return decode, size


def jpeg_size_of(row: Any) -> tuple[int, int]:
    return jpeg_size(as_bytes(row))


def as_bytes(row: Any) -> Pixels:
    """A row of bytes however HDF5 gives it: numbers, a byte string, an opaque value. Raises ValueError."""
    if isinstance(row, np.ndarray) and row.dtype.kind in "ui" and row.dtype.itemsize == 1:
        flat = row.reshape(-1)
        return flat if flat.dtype == np.uint8 else flat.view(np.uint8)
    if isinstance(row, np.ndarray) and row.size == 1:
        row = row.reshape(())[()]
    if isinstance(row, str):
        row = row.encode("utf-8", "surrogateescape")
    if isinstance(row, np.void):
        row = row.tobytes()
    if isinstance(row, bytes):
        if len(row) > bounds.MAX_ROW:
            raise ValueError(f"a row of {len(row)} bytes, at most {bounds.MAX_ROW} are read")
        return np.frombuffer(row, np.uint8)
    raise ValueError(f"a {type(row).__name__} is no row of bytes")


def open_image(data: bytes) -> Image.Image:
    """A PNG, WebP or BMP whose header was read. Raises ValueError.

    Zeros at its end may be gone: HDF5's byte strings of one length do not tell them from padding.
    """
    size = int.from_bytes(data[4:8], "little") + 8 if data[:4] == b"RIFF" else int.from_bytes(data[2:6], "little")
    if not data.startswith(b"\x89PNG") and size <= bounds.MAX_ROW:
        data = data.ljust(size, b"\0")
    try:
        image = Image.open(io.BytesIO(data), formats=_LOSSLESS)
        if image.height * image.width > MAX_PIXELS:
            raise ValueError(f"an image that declares {image.height} x {image.width} pixels, at most {MAX_PIXELS}")
        image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f"no PNG, WebP or BMP, it begins with {data[:8].hex(' ') or 'nothing'}") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an image that cannot be decoded: {first_line(error)}") from error
    return image


def _is_lossless(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"BM")) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


# --- pixels -----------------------------------------------------------------------------------------------


def _pixels(entries: Entries, name: str, dataset: h5py.Dataset, shown: str) -> tuple[Callable[[Any], Pixels], int, int]:
    """How a row becomes (H, W, 3) uint8, and its height and width. Raises UnfitError for depth and everything else."""
    kind, one_byte = dataset.dtype.kind, dataset.dtype.itemsize == 1
    shape = dataset.shape[1:]
    if kind not in "uif" or len(shape) not in (2, 3):
        raise entries.unfit(shown)
    if len(shape) == 2:
        channels, first, (height, width) = _GREY, False, shape
    elif shape[2] == 3 or (shape[2] in (_GREY, _ALPHA) and shape[0] != 3):
        channels, first, (height, width) = shape[2], False, shape[:2]
    elif shape[0] in (3, _GREY, _ALPHA):
        channels, first, (height, width) = shape[0], True, shape[1:]
    else:
        raise entries.unfit(shown)
    if channels == _GREY and (not (kind == "u" and one_byte) or "depth" in name.lower()):
        raise entries.unfit(f"camera {name} holds depth ({dataset.dtype} {dataset.shape}), which is no image")
    if kind == "u" and one_byte and channels == 3 and not first:
        return np.asarray, height, width
    mended = []
    if first:
        mended.append("its channels come first and are put last")
    if channels == _GREY:
        mended.append("it is grey; all three channels are the same")
    if channels == _ALPHA:
        mended.append("its fourth channel is not kept")
    scale = 1.0
    if kind == "f":
        scale = 255.0 if _highest(entries, name, dataset) <= 1.0 else 1.0
        mended.append(f"its {dataset.dtype} values, {'0 to 1' if scale > 1 else '0 to 255'}, are rounded to whole ones")
    elif not one_byte or kind == "i":
        mended.append(f"its {dataset.dtype} values become uint8")
    entries.warn(f"camera {name} is {dataset.dtype} {dataset.shape}: {', '.join(mended)}")

    def convert(row: Any) -> Pixels:
        pixels = np.asarray(row)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif first:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if channels == _GREY else pixels[..., :3]
        if pixels.dtype != np.uint8:
            if pixels.dtype.kind == "f":
                pixels = np.rint(pixels.astype(np.float64) * scale)
            if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 255:
                raise ValueError("it holds values that are no pixels, expected 0 to 255")
        return np.ascontiguousarray(pixels, np.uint8)

    return convert, int(height), int(width)


def _highest(entries: Entries, name: str, dataset: h5py.Dataset) -> float:
    """The highest value of three frames."""
    try:
        rows = [dataset[step] for step in dict.fromkeys((0, dataset.shape[0] // 2, dataset.shape[0] - 1))]
    except H5PY_ERRORS as error:
        raise entries.unfit(f"camera {name} cannot be read: {first_line(error)}") from error
    return max(float(np.max(row)) for row in rows)


def _one_plain_chunk_a_step(dataset: h5py.Dataset) -> bool:
    """Each step is one chunk, stored without any filter and written in full."""
    filters = dataset.id.get_create_plist().get_nfilters()
    if dataset.chunks != (1, *dataset.shape[1:]) or filters:
        return False
    return bool(dataset.id.get_num_chunks() == dataset.shape[0])
