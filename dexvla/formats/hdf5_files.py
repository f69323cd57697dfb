"""What importers of HDF5 layouts share: files within a source, numbers joined from entries, frames of any kind."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.cameras import as_bytes, open_image
from dexvla.episodes.entries import H5PY_ERRORS, Entries, first_line
from dexvla.episodes.finding import find_episodes, is_episode_file
from dexvla.episodes.format import IMAGES
from dexvla.episodes.jpeg import jpeg_size
from dexvla.errors import EpisodeError
from dexvla.files import FULL
from dexvla.formats.base import FormatError, SourceCamera
from dexvla.formats.sources import inside

_LOOKED_AT = 3  # files of a folder, to tell its format


def episode_files(source: Path) -> list[Path]:
    """The HDF5 files of a source, a file or a folder; none that leads out of it, and none of hidden folders."""
    if source.is_file():
        return [source] if is_episode_file(source) else []
    try:
        return [file for file in shown_files(source) if inside(source, file, named_by=str(source))]
    except EpisodeError:
        return []


def shown_files(folder: Path) -> list[Path]:
    """Episode files of a folder, without those of hidden folders in it. Raises EpisodeError where there are none."""
    files = find_episodes(folder)
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def any_looks_like(source: Path, test: Callable[[h5py.File], bool]) -> bool:
    """Whether one of the first files passes; never raises for what is in them."""
    for path in episode_files(source)[:_LOOKED_AT]:
        try:
            with h5py.File(path, "r") as file:
                if test(file):
                    return True
        except (*H5PY_ERRORS, AttributeError):
            continue
    return False


@contextmanager
def opened(path: Path, below: str = "") -> Iterator[Entries]:
    """Its entries, or those below a group, within bounds. Raises FormatError for what cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            yield Entries(path, file, below)
    except EpisodeError as error:
        raise FormatError(str(error)) from error
    except H5PY_ERRORS as error:
        if isinstance(error, FormatError) or (isinstance(error, OSError) and error.errno in FULL):
            raise
        raise FormatError(f"{path}: cannot be read as HDF5 ({first_line(error)}); copy it again") from error


def joined(entries: Entries, names: Sequence[str], *, steps: int | None = None) -> NDArray[np.float32]:
    """(T, D) float32 of several entries side by side, each (T, d) or (T,). Raises EpisodeError.

    steps: rows behind so many are left out, also where one entry has some and another none.
    """
    parts: list[NDArray[np.float32]] = []
    for name in names:
        dataset = entries.dataset(name)
        values = (entries.matrix(name) if dataset.ndim == 2 else _single(entries, name, dataset))[:steps]
        if parts and len(values) != len(parts[0]):
            raise entries.unfit(f"{name} has {len(values)} rows, {names[0]} has {len(parts[0])}")
        parts.append(values)
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _single(entries: Entries, name: str, dataset: h5py.Dataset) -> NDArray[np.float32]:
    if dataset.ndim != 1 or dataset.shape[0] < 1:
        raise entries.unfit(f"{name} is {dataset.dtype} {dataset.shape}, expected numbers, one or several a step")
    return np.asarray(entries.column(name, int(dataset.shape[0])), np.float32)[:, None]


def asked(entry: str | None) -> list[str]:
    """The names of a profile's `state_entry` or `action_entry`: several are separated by commas."""
    return [name.strip() for name in (entry or "").split(",") if name.strip()]


def camera_of(entries: Entries, name: str, steps: int, *, swapped: bool = False) -> SourceCamera:
    """The frames of a dataset: (T, H, W, 3) or (T, 3, H, W) pixels, or T rows of JPEG or PNG.

    swapped: red and blue are the wrong way round. Raises EpisodeError.
    """
    try:
        item = entries.file[name]
    except KeyError as error:
        raise entries.unfit(f"no dataset {name!r}; {entries.beside(name)}") from error
    dataset = entries.readable(f"{IMAGES}/{name}", item)  # bounds of a frame, not of all together
    if not dataset.ndim or dataset.shape[0] < steps:
        raise entries.unfit(f"{name} has shape {dataset.shape}, expected a frame for each of {steps} steps")
    if dataset.ndim == 4 and dataset.dtype == np.uint8 and 3 in (dataset.shape[1], dataset.shape[3]):
        first = dataset.shape[3] != 3
        height, width = (int(n) for n in (dataset.shape[2:] if first else dataset.shape[1:3]))

        def pixels(step: int) -> NDArray[np.uint8]:
            frame = np.moveaxis(dataset[step], 0, -1) if first else dataset[step]
            return np.ascontiguousarray(frame)

        return SourceCamera(
            frames=lambda: map(pixels, range(steps)),
            jpeg=False,
            height=height,
            width=width,
            swapped=swapped,
            frame=pixels,
        )
    if dataset.ndim not in (1, 2):
        raise entries.unfit(
            f"{name} is {dataset.dtype} {dataset.shape}, expected uint8 (T, height, width, 3) or rows of JPEG"
        )
    return _encoded(entries, name, dataset, steps, swapped)


def _encoded(entries: Entries, name: str, dataset: h5py.Dataset, steps: int, swapped: bool) -> SourceCamera:
    def row(step: int) -> bytes:
        try:
            return as_bytes(dataset[step]).tobytes().rstrip(b"\0")
        except (*H5PY_ERRORS,) as error:
            raise EpisodeError(f"{entries.path}: {name}, step {step}: {first_line(error)}") from error

    first = row(0)
    jpeg = first[:2] == b"\xff\xd8"
    try:
        height, width = jpeg_size(first) if jpeg else (open_image(first).height, open_image(first).width)
    except ValueError as error:
        raise entries.unfit(f"{name}, step 0: neither JPEG nor PNG ({error})") from error

    def frame(step: int) -> bytes | NDArray[np.uint8]:
        return row(step) if jpeg else np.asarray(open_image(row(step)).convert("RGB"))

    return SourceCamera(
        frames=lambda: map(frame, range(steps)), jpeg=jpeg, height=height, width=width, swapped=swapped, frame=frame
    )


def texts_of(value: Any) -> list[str]:
    """An attribute, or a value of JSON, that holds one text or several."""
    listed = value.ravel().tolist() if isinstance(value, np.ndarray) else value if isinstance(value, list) else [value]
    return [text for each in listed if (text := text_of(each))]


def text_of(value: Any) -> str | None:
    """An attribute as text; None for what is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() or None if isinstance(value, str) else None
