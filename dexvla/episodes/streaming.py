"""Write an episode file from frames that come one by one: one of them is in memory at a time.

JPEG rows are gone through twice, since a row is as wide as the longest of all. `dexvla.episodes.writer` is the writer
for episodes that are in memory.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import IMAGES, JPEG_CHANNELS, EpisodeData
from dexvla.episodes.jpeg import decode_reduced, jpeg_size, whole_jpeg
from dexvla.episodes.writer import validate_steps, write_steps
from dexvla.errors import EpisodeError, EpisodeExistsError
from dexvla.files import atomic_file

_SPARE_BYTES = 16 * 2**20  # left free on the disk: HDF5 survives a full one badly


class BrokenFrameError(EpisodeError):
    """A frame that cannot be had or does not fit; those before it are whole."""

    def __init__(self, camera: str, step: int, reason: str) -> None:
        super().__init__(f"camera {camera}, step {step}: {reason}")
        self.camera, self.step = camera, step


@dataclass(frozen=True, kw_only=True)
class CameraStream:
    """frames: called once or more, gives at least T frames in order: JPEG bytes where `jpeg`, else uint8 (H, W, 3).

    swapped: red and blue are the wrong way round in what it gives; pixels are turned, JPEG rows marked.
    """

    frames: Callable[[], Iterator[bytes | NDArray[np.uint8]]]
    jpeg: bool
    height: int
    width: int
    swapped: bool = False


def stream_episode(path: str | os.PathLike[str], data: EpisodeData, cameras: Mapping[str, CameraStream]) -> None:
    """Write `data`, whose images do not count, and the frames of `cameras` as an episode file; atomically.

    Raises EpisodeExistsError rather than overwrite a file, BrokenFrameError for a frame, EpisodeError for data that
    does not fit together and OSError where there is no room; nothing stays behind.
    """
    path = Path(path)
    taken = f"{path} exists already; episodes are never overwritten"
    if path.exists():
        raise EpisodeExistsError(taken)
    steps = validate_steps(data)
    if not cameras:
        raise EpisodeError("an episode needs at least one camera")
    cameras = {name: cameras[name] for name in sorted(cameras)}
    lengths = {name: _row_lengths(name, camera, steps) for name, camera in cameras.items() if camera.jpeg}
    needed = sum(
        steps * int(lengths[name].max()) if camera.jpeg else steps * camera.height * camera.width * 3
        for name, camera in cameras.items()
    )
    try:
        with atomic_file(path, overwrite=False) as temporary:
            _refuse_full(temporary.parent, needed)
            with h5py.File(temporary, "w") as file:
                try:
                    write_steps(file, data)
                except (OverflowError, TypeError, UnicodeError, ValueError) as error:
                    if isinstance(error, EpisodeError):
                        raise
                    raise EpisodeError(f"a text or number that HDF5 cannot store ({_first_line(error)})") from error
                _write_marks(file, cameras)
                for name, camera in cameras.items():
                    if camera.jpeg:
                        _write_rows(file, name, camera, lengths[name])
                    else:
                        _write_pixels(file, name, camera, steps)
                if lengths:
                    none = np.zeros(steps, np.int64)
                    rows = [lengths.get(name, none) for name in cameras]
                    file.create_dataset("compress_len", data=np.asarray(rows, np.float32))
    except FileExistsError as error:
        if not path.exists():  # it is the folder's place that is taken
            raise
        raise EpisodeExistsError(taken) from error


def _refuse_full(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _write_marks(file: h5py.File, cameras: Mapping[str, CameraStream]) -> None:
    """How the JPEG rows are read: "rgb" for the whole file unless all are swapped; a camera that differs says so."""
    orders = {camera.swapped for camera in cameras.values() if camera.jpeg}
    file.attrs["compress"] = bool(orders)
    if False in orders:
        file.attrs[JPEG_CHANNELS] = "rgb"


def _frames(name: str, camera: CameraStream, steps: int) -> Iterator[tuple[int, Any]]:
    """The first `steps` frames with their steps. Raises BrokenFrameError where one cannot be had."""
    step, stream = 0, None
    while step < steps:
        try:
            stream = iter(camera.frames()) if stream is None else stream
            frame = next(stream)
        except StopIteration:
            raise BrokenFrameError(name, step, f"there are {step} frames for {steps} steps") from None
        except BrokenFrameError:
            raise
        except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise BrokenFrameError(name, step, _first_line(error)) from error
        yield step, frame
        step += 1


def _row_lengths(name: str, camera: CameraStream, steps: int) -> NDArray[np.int64]:
    """Bytes of each JPEG row; every row is decoded, and of the camera's size."""
    lengths = np.zeros(steps, np.int64)
    for step, row in _frames(name, camera, steps):
        data = whole_jpeg(bytes(row))
        if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
            found = "empty" if not data else f"not a whole JPEG (ff d8 .. ff d9) of {len(data)} bytes"
            raise BrokenFrameError(name, step, found)
        try:
            size = jpeg_size(data)
            decode_reduced(data, 1, 1)  # all of its data are gone through, an eighth of the pixels is made
        except ValueError as error:
            raise BrokenFrameError(name, step, _first_line(error)) from error
        _check_size(name, camera, step, size)
        lengths[step] = len(data)
    return lengths


def _write_rows(file: h5py.File, name: str, camera: CameraStream, lengths: NDArray[np.int64]) -> None:
    longest = int(lengths.max())
    rows = file.create_dataset(f"{IMAGES}/{name}", shape=(len(lengths), longest), dtype=np.uint8, chunks=(1, longest))
    if camera.swapped and JPEG_CHANNELS in file.attrs:
        rows.attrs[JPEG_CHANNELS] = "bgr"
    for step, row in _frames(name, camera, len(lengths)):
        data = whole_jpeg(bytes(row))
        if len(data) != lengths[step]:
            _changed(name, step)
        rows.id.write_direct_chunk((step, 0), data.ljust(longest, b"\0"))


def _write_pixels(file: h5py.File, name: str, camera: CameraStream, steps: int) -> None:
    shape = (camera.height, camera.width, 3)
    pixels = file.create_dataset(f"{IMAGES}/{name}", shape=(steps, *shape), dtype=np.uint8, chunks=(1, *shape))
    for step, frame in _frames(name, camera, steps):
        array = np.asarray(frame)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise BrokenFrameError(name, step, f"{array.dtype} {array.shape}, expected uint8 {shape}")
        _check_size(name, camera, step, (array.shape[0], array.shape[1]))
        turned = array[..., ::-1] if camera.swapped else array
        pixels.id.write_direct_chunk((step, 0, 0, 0), np.ascontiguousarray(turned).tobytes())


def _check_size(name: str, camera: CameraStream, step: int, size: tuple[int, int]) -> None:
    if size != (camera.height, camera.width):
        raise BrokenFrameError(
            name, step, f"{size[0]} x {size[1]} pixels, the camera's frames have {camera.height} x {camera.width}"
        )


def _changed(name: str, step: int) -> NoReturn:
    raise EpisodeError(f"camera {name}, step {step}: the source changed while it was read; try again")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
