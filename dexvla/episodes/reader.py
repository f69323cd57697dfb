"""Read an episode file as it stands on disk, whatever its dimensions, cameras and image kind.

Opening checks structure, shapes and dtypes once; every message names the file, what was found and what was expected.
Motion is read at once (it is small), frames one at a time on demand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import IMAGE_TIMES, IMAGES, JPEG_CHANNELS, EpisodeAttributes
from dexvla.episodes.jpeg import decode_jpeg, jpeg_size
from dexvla.errors import EpisodeError

# Filters that h5py itself brings. Others would load a plug-in from outside, so they are refused.
_FILTERS = {"gzip", "lzf", "szip", None}
# A few kilobytes of HDF5 can declare terabytes: nothing larger than this is read in one piece.
_MAX_BYTES = 2**30


class Episode:
    """An open episode file; made by `open_episode`, closed with it.

    action (T, A), qpos and qvel (T, S), joint_positions (T, J) or None, all float32; timestamp (T,) float64 or None.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        _refuse_links(path, file)
        self.action = self._matrix("action")
        self.steps: int = self.action.shape[0]
        self.qpos = self._matrix("observations/qpos")
        self.qvel = self._matrix("observations/qvel") if "observations/qvel" in file else np.zeros_like(self.qpos)
        self.joint_positions = self._optional("observations/joint_positions")
        self.action_sent = self._optional("action_sent")
        for name, array in (("observations/qpos", self.qpos), ("observations/qvel", self.qvel)):
            if array.shape[0] != self.steps:
                raise EpisodeError(f"{path}: {name} has {array.shape[0]} rows, action has {self.steps}")
        self.sim = bool(file.attrs.get("sim", False))
        self.compressed = bool(file.attrs.get("compress", False))
        self.rgb_jpeg = _text(file.attrs.get(JPEG_CHANNELS, "")) == "rgb"
        self._frames = self._image_datasets()
        self._plain: dict[str, tuple[int, ...]] = {
            name: dataset.shape[1:] for name, dataset in self._frames.items() if _one_plain_chunk_a_step(dataset)
        }
        self.cameras: tuple[str, ...] = tuple(sorted(self._frames))

    # --- what the file says -------------------------------------------------------------------------------

    @cached_property
    def attributes(self) -> EpisodeAttributes:
        """The known attributes of the file; what is absent is None."""
        attrs = self._file.attrs

        def get(name: str, kind: type) -> Any:
            value = attrs.get(name)
            if value is None:
                return None
            try:
                return _text(value) if kind is str else kind(value)
            except (TypeError, ValueError) as error:
                raise EpisodeError(f"{self.path}: attribute {name} is {value!r}, expected {kind.__name__}") from error

        return EpisodeAttributes(
            sim=self.sim,
            robot=get("robot", str),
            task=get("task", str),
            fps=get("fps", float),
            success=get("success", bool),
            held=get("held", bool),
            seed=get("seed", int),
            render_profile=get("render_profile", str),
            reward=get("reward", float),
        )

    @cached_property
    def instruction(self) -> str:
        """language_raw[0], UTF-8."""
        values = self._strings("language_raw")
        if values is None or len(values) != 1 or not values[0].strip():
            found = "nothing" if values is None else f"{len(values)} entries {values[:2]!r}"
            raise EpisodeError(f"{self.path}: language_raw holds {found}, expected one instruction that is not empty")
        return values[0]

    @cached_property
    def substep_reasonings(self) -> tuple[str, ...] | None:
        """One text a step, (T,), or None if the file has no labels. A single `reasoning` is spread over all steps."""
        values = self._strings("substep_reasonings")
        if values is None:
            whole = self._strings("reasoning")
            return None if not whole else (whole[0],) * self.steps
        if len(values) != self.steps:
            raise EpisodeError(f"{self.path}: {len(values)} substep_reasonings for {self.steps} steps")
        return tuple(values)

    @property
    def label_source(self) -> str | None:
        if "substep_reasonings" not in self._file:
            return None
        value = self._file["substep_reasonings"].attrs.get("label_source")
        return None if value is None else _text(value)

    @cached_property
    def timestamp(self) -> NDArray[np.float64] | None:
        if "timestamp" not in self._file:
            return None
        return np.asarray(self._dataset("timestamp")[:], np.float64)

    def image_timestamp(self, camera: str) -> NDArray[np.float64] | None:
        name = f"{IMAGE_TIMES}/{camera}"
        return np.asarray(self._dataset(name)[:], np.float64) if name in self._file else None

    # --- frames -------------------------------------------------------------------------------------------

    def stored_frame(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The bytes as stored: (H, W, 3) pixels, or one row of JPEG bytes with its zero padding."""
        if camera not in self._frames:
            raise EpisodeError(f"{self.path}: no camera {camera!r}; it has {', '.join(self.cameras)}")
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of an episode of {self.steps} steps")
        dataset = self._frames[camera]
        try:
            if camera in self._plain:  # HDF5 hands the bytes over as they are: twice as fast for plain pictures
                shape = self._plain[camera]
                _, data = dataset.id.read_direct_chunk((step, *(0,) * len(shape)))
                return np.frombuffer(data, np.uint8).reshape(shape)
            return np.asarray(dataset[step])
        except (OSError, RuntimeError, ValueError) as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step} cannot be read: {error}") from error

    def frame(self, camera: str, step: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, decoded if the file holds JPEG rows."""
        stored = self.stored_frame(camera, step)
        if not self.compressed:
            return stored
        try:
            picture = decode_jpeg(stored)
        except ValueError as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step}: {error}") from error
        return picture if self.rgb_jpeg else np.ascontiguousarray(picture[..., ::-1])

    def frame_size(self, camera: str) -> tuple[int, int]:
        """(height, width) of the camera's first picture."""
        if not self.compressed:
            height, width = self._frames[camera].shape[1:3]
            return int(height), int(width)
        try:
            return jpeg_size(self.stored_frame(camera, 0))
        except ValueError as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step 0: {error}") from error

    # --- reading with errors that say what was found ------------------------------------------------------

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in self._file:
            raise EpisodeError(f"{self.path}: no dataset {name!r}; found {_describe(self._file)}")
        item = self._file[name]
        if not isinstance(item, h5py.Dataset):
            raise EpisodeError(f"{self.path}: {name} is a group, expected a dataset")
        if item.external or item.is_virtual or item.compression not in _FILTERS:
            raise EpisodeError(f"{self.path}: {name} uses external or virtual storage or an unknown filter; refused")
        once = item.nbytes // max(item.shape[0], 1) if name.startswith(IMAGES) and item.ndim else item.nbytes
        if once > _MAX_BYTES:
            raise EpisodeError(
                f"{self.path}: {name} declares {item.dtype} {item.shape}, more than 1 GiB at once; refused"
            )
        return item

    def _matrix(self, name: str) -> NDArray[np.float32]:
        dataset = self._dataset(name)
        if dataset.ndim != 2 or dataset.shape[0] < 1 or dataset.shape[1] < 1 or dataset.dtype.kind not in "fiu":
            raise EpisodeError(
                f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, expected numbers of shape (steps, dimensions)"
            )
        try:
            return np.asarray(dataset[:], np.float32)
        except OSError as error:
            raise EpisodeError(f"{self.path}: {name} cannot be read: {error}") from error

    def _optional(self, name: str) -> NDArray[np.float32] | None:
        if name not in self._file:
            return None
        array = self._matrix(name)
        if array.shape[0] != self.steps:
            raise EpisodeError(f"{self.path}: {name} has {array.shape[0]} rows, action has {self.steps}")
        return array

    def _strings(self, name: str) -> list[str] | None:
        if name not in self._file:
            return None
        values = np.atleast_1d(self._dataset(name)[()]).ravel()
        try:
            return [_text(value) for value in values]
        except UnicodeDecodeError as error:
            raise EpisodeError(f"{self.path}: {name} is not valid UTF-8: {error}") from error

    def _image_datasets(self) -> dict[str, h5py.Dataset]:
        if IMAGES not in self._file or not isinstance(self._file[IMAGES], h5py.Group) or not len(self._file[IMAGES]):
            raise EpisodeError(f"{self.path}: no cameras below {IMAGES}; found {_describe(self._file)}")
        datasets = {name: self._dataset(f"{IMAGES}/{name}") for name in self._file[IMAGES]}
        expected = "(T, bytes) JPEG rows" if self.compressed else "(T, height, width, 3) pixels"
        for name, dataset in datasets.items():
            fits = dataset.ndim == 2 if self.compressed else dataset.ndim == 4 and dataset.shape[3] == 3
            if not fits or dataset.dtype != np.uint8 or dataset.shape[0] != self.steps:
                raise EpisodeError(
                    f"{self.path}: camera {name} is {dataset.dtype} {dataset.shape}, expected uint8 {expected} "
                    f"with T = {self.steps} (attribute compress is {self.compressed})"
                )
        return datasets

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_episode(path: str | os.PathLike[str]) -> Episode:
    """Open an episode file; the caller closes it. Raises EpisodeError for what is not one."""
    path = Path(path)
    if not path.is_file():
        raise EpisodeError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise EpisodeError(
            f"{path}: not a readable HDF5 file ({_first_line(error)}); re-export it or leave it out"
        ) from error
    try:
        return Episode(path, file)
    except BaseException as error:
        file.close()
        if isinstance(error, (KeyError, RuntimeError, OSError)):
            raise EpisodeError(f"{path}: damaged HDF5 file ({_first_line(error)})") from error
        raise


@contextmanager
def open_episode(path: str | os.PathLike[str]) -> Iterator[Episode]:
    """Open an episode for the length of a `with` block. Raises EpisodeError for what is not one."""
    with load_episode(path) as episode:
        yield episode


def find_episodes(folder: str | os.PathLike[str]) -> list[Path]:
    """All *.hdf5 below `folder`, episode_2 before episode_10. Raises EpisodeError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such folder")
    paths = [path for path in folder.rglob("*.hdf5") if not path.name.startswith(".")]
    if not paths:
        raise EpisodeError(f"{folder}: no *.hdf5 files in this folder or below; record or import episodes first")
    return sorted(paths, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sort key under which episode_2 comes before episode_10."""
    parts: list[tuple[int, int | str]] = []
    digits = ""
    for character in [*str(path), ""]:
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, character))
    return parts


def _refuse_links(path: Path, file: h5py.File) -> None:
    """Only hard links: soft and external ones can lead out of the file."""

    def walk(group: h5py.Group, prefix: str) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise EpisodeError(
                    f"{path}: {prefix}{name} is a {type(link).__name__}; links are refused, store the data"
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                if len(prefix) > 200:
                    raise EpisodeError(f"{path}: groups are nested too deeply at {prefix}")
                walk(item, f"{prefix}{name}/")

    walk(file, "")


def _one_plain_chunk_a_step(dataset: h5py.Dataset) -> bool:
    """Each step is one chunk, stored without any filter and written in full."""
    filters = dataset.id.get_create_plist().get_nfilters()
    if dataset.chunks != (1, *dataset.shape[1:]) or filters:
        return False
    return bool(dataset.id.get_num_chunks() == dataset.shape[0])


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _describe(file: h5py.File) -> str:
    names = sorted(file)
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "an empty file"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
