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

from dexvla.episodes import bounds
from dexvla.episodes.format import (
    IMAGE_TIMES,
    IMAGES,
    JPEG_CHANNELS,
    LONGEST_SCENE_WORD,
    MARKS,
    MOST_SCENE_ATTRIBUTES,
    SCENE_ATTRIBUTES,
    SCENE_NAME,
    STEP_SOURCE,
    TAKEN_ATTRIBUTES,
    EpisodeAttributes,
    StepSource,
)
from dexvla.episodes.jpeg import MAX_PIXELS, decode_jpeg, jpeg_size
from dexvla.errors import EpisodeError
from dexvla.spec import FPS_LEAST, FPS_MOST

# Filters that h5py itself brings. Others would load a plug-in from outside, so they are refused.
_FILTERS = {"gzip", "lzf", "szip", None}
_EXACT_FLOAT32 = 2**24  # up to here every whole number is one of float32
# Of pick_colour in files that do not list theirs: the first task that had some.
_PICK_ATTRIBUTES = ("swapped", "level", "split", "named_colour", "other_colour")
# What h5py raises for data that it cannot read or has no NumPy type for.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)


class Episode:
    """An open episode file; made by `open_episode`, closed with it.

    action (T, A), qpos and qvel (T, S), joint_positions (T, J) or None, all float32; timestamp (T,) float64 or None.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        bounds.walk(path, file)
        self.action = self._matrix("action")
        self.steps: int = self.action.shape[0]
        self.qpos = self._matrix("observations/qpos")
        self.qvel = self._matrix("observations/qvel") if "observations/qvel" in file else np.zeros_like(self.qpos)
        self.joint_positions = self._optional("observations/joint_positions")
        self.action_sent = self._optional("action_sent")
        for name, array in (("observations/qpos", self.qpos), ("observations/qvel", self.qvel)):
            if array.shape[0] != self.steps:
                raise EpisodeError(f"{path}: {name} has {array.shape[0]} rows, action has {self.steps}")
        if self.qvel.shape != self.qpos.shape:
            raise EpisodeError(
                f"{path}: observations/qvel has {self.qvel.shape[1]} dimensions, expected {self.qpos.shape[1]} as qpos"
            )
        self.sim = self._flag("sim") or False
        self.compressed = self._flag("compress") or False
        self.rgb_jpeg = self._word(JPEG_CHANNELS) == "rgb"
        self._frames = self._image_datasets()
        self._plain: dict[str, tuple[int, ...]] = {
            name: dataset.shape[1:] for name, dataset in self._frames.items() if _one_plain_chunk_a_step(dataset)
        }
        self.cameras: tuple[str, ...] = tuple(sorted(self._frames))

    # --- what the file says -------------------------------------------------------------------------------

    @cached_property
    def attributes(self) -> EpisodeAttributes:
        """The known attributes of the file; what is absent is None."""
        fps = self._number("fps")
        if fps is not None and not FPS_LEAST <= fps <= FPS_MOST:
            raise EpisodeError(f"{self.path}: attribute fps is {fps:g}, expected {FPS_LEAST:g} to {FPS_MOST:g} Hz")
        return EpisodeAttributes(
            sim=self.sim,
            robot=self._word("robot"),
            task=self._word("task"),
            fps=fps,
            success=self._flag("success"),
            held=self._flag("held"),
            seed=self._whole("seed"),
            render_profile=self._word("render_profile"),
            reward=self._number("reward"),
        )

    @cached_property
    def scene_attributes(self) -> dict[str, str | bool | float]:
        """What an episode says of its scene beside `attributes`, by the names that it gives; often nothing."""
        listed = self._word(SCENE_ATTRIBUTES)
        names: tuple[str, ...]
        if listed is None:
            names = _PICK_ATTRIBUTES if self.attributes.task == "pick_colour" else ()
        else:
            names = tuple(name.strip() for name in listed.split(",") if name.strip())
        found: dict[str, str | bool | float] = {}
        for name in names:
            if not SCENE_NAME.fullmatch(name) or name in TAKEN_ATTRIBUTES or len(found) == MOST_SCENE_ATTRIBUTES:
                raise self._wrong(SCENE_ATTRIBUTES, listed, f"at most {MOST_SCENE_ATTRIBUTES} names of attributes")
            value = self._attribute(name)
            if value is None:
                continue
            if name == "swapped" or isinstance(value, (bool, np.bool_)):
                flag = self._flag(name)
                found[name] = bool(flag)
            elif isinstance(value, (int, float, np.integer, np.floating)) and listed is not None:
                found[name] = float(self._number(name) or 0.0)
            else:
                word = self._word(name) or ""
                if len(word) > LONGEST_SCENE_WORD:
                    raise self._wrong(name, word, f"a word of at most {LONGEST_SCENE_WORD} characters")
                found[name] = word
        return found

    @cached_property
    def recovery_attributes(self) -> dict[str, str | bool | float]:
        """What an episode with mishaps or a correction says of them beside `attributes`; nothing for others."""
        found: dict[str, str | bool | float | None] = {
            "wide_start": self._flag("wide_start"),
            "execution_noise": self._number("execution_noise"),
        }
        for name in ("mishaps", "correction"):
            found[name] = word = self._word(name)
            if word is not None and len(word) > LONGEST_SCENE_WORD:
                raise self._wrong(name, word, f"a text of at most {LONGEST_SCENE_WORD} characters")
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def instruction(self) -> str:
        """language_raw[0], UTF-8."""
        values = self._strings("language_raw")
        if values is None or len(values) != 1 or not values[0].strip():
            found = "nothing" if values is None else f"{len(values)} entries {[text[:80] for text in values[:2]]!r}"
            raise EpisodeError(f"{self.path}: language_raw holds {found}, expected one instruction that is not empty")
        if len(values[0]) > bounds.MAX_INSTRUCTION:
            raise EpisodeError(
                f"{self.path}: language_raw has {len(values[0])} characters, expected an instruction of at most "
                f"{bounds.MAX_INSTRUCTION}"
            )
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
        return self._word("label_source", of="substep_reasonings") if "substep_reasonings" in self._file else None

    @cached_property
    def timestamp(self) -> NDArray[np.float64] | None:
        return self._seconds("timestamp")

    def image_timestamp(self, camera: str) -> NDArray[np.float64] | None:
        if IMAGE_TIMES in self._file and not isinstance(self._file[IMAGE_TIMES], h5py.Group):
            raise EpisodeError(
                f"{self.path}: {IMAGE_TIMES} is not a group, expected one with a dataset for each camera"
            )
        return self._seconds(f"{IMAGE_TIMES}/{camera}")

    @cached_property
    def host_timestamp(self) -> NDArray[np.float64] | None:
        return self._seconds("host_timestamp")

    @cached_property
    def step_source(self) -> tuple[StepSource, ...] | None:
        """Who commanded each step, (T,), or None if the file does not say."""
        if STEP_SOURCE not in self._file:
            return None
        dataset = self._dataset(STEP_SOURCE)
        if dataset.dtype != np.uint8 or dataset.shape != (self.steps,):
            raise EpisodeError(
                f"{self.path}: {STEP_SOURCE} is {dataset.dtype} {dataset.shape}, expected uint8 ({self.steps},)"
            )
        try:
            names = [StepSource(_text(name)) for name in np.atleast_1d(bounds.read_attribute(dataset.attrs, "names"))]
            return tuple(names[index] for index in self._read(dataset, STEP_SOURCE))
        except (*_H5PY_ERRORS, IndexError) as error:
            raise EpisodeError(
                f"{self.path}: {STEP_SOURCE} holds other sources than {', '.join(StepSource)} ({_first_line(error)})"
            ) from error

    @cached_property
    def marks(self) -> tuple[int, ...] | None:
        """Steps at which who drove said that a substep begins, rising, or None if the file does not say."""
        if MARKS not in self._file:
            return None
        dataset = self._dataset(MARKS)
        if dataset.dtype.kind not in "iu" or dataset.ndim != 1 or dataset.shape[0] > self.steps:
            raise EpisodeError(f"{self.path}: {MARKS} is {dataset.dtype} {dataset.shape}, expected whole numbers (M,)")
        marks = tuple(int(mark) for mark in self._read(dataset, MARKS))
        if list(marks) != sorted({mark for mark in marks if 0 <= mark < self.steps}):
            raise EpisodeError(
                f"{self.path}: {MARKS} holds {marks[:5]}, expected rising steps from 0 to {self.steps - 1}"
            )
        return marks

    # --- frames -------------------------------------------------------------------------------------------

    def stored_frame(self, camera: str, step: int) -> NDArray[np.uint8]:
        """The bytes as stored: (H, W, 3) pixels, or one row of JPEG bytes with its zero padding."""
        if camera not in self._frames:
            raise EpisodeError(f"{self.path}: no camera {camera!r}; it has {', '.join(self.cameras)}")
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of an episode of {self.steps} steps")
        dataset = self._frames[camera]
        try:
            if camera in self._plain:  # HDF5 hands the bytes over as they are: twice as fast for plain images
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
            return decode_jpeg(stored, swapped=not self.rgb_jpeg)
        except ValueError as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step}: {error}") from error

    def frame_size(self, camera: str, step: int = 0) -> tuple[int, int]:
        """(height, width) of one of the camera's images, from its header."""
        if not self.compressed:
            height, width = self._frames[camera].shape[1:3]
            return int(height), int(width)
        try:
            return jpeg_size(self.stored_frame(camera, step))
        except EpisodeError:
            raise
        except ValueError as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step}: {error}") from error

    def row_lengths(self) -> dict[str, NDArray[np.int64]] | None:
        """Bytes of each JPEG row, (T,) a camera, as `compress_len` says; None where it does not fit, or for pixels."""
        if not self.compressed or "compress_len" not in self._file:
            return None
        dataset = self._dataset("compress_len")
        if dataset.dtype.kind not in "fiu" or dataset.shape != (len(self.cameras), self.steps):
            return None
        lengths = np.asarray(self._read(dataset, "compress_len"), np.float64)
        widths = np.asarray([[self._frames[camera].shape[1]] for camera in self.cameras])
        exact = (lengths == np.round(lengths)) & (lengths >= 0) & (lengths <= np.minimum(widths, _EXACT_FLOAT32))
        if not exact.all():
            return None
        return dict(zip(self.cameras, lengths.astype(np.int64), strict=True))

    # --- reading with errors that say what was found ------------------------------------------------------

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in self._file:
            raise EpisodeError(f"{self.path}: no dataset {name!r}; {_beside(self._file, name)}")
        item = self._file[name]
        if not isinstance(item, h5py.Dataset):
            raise EpisodeError(f"{self.path}: {name} is a {type(item).__name__.lower()}, expected a dataset")
        try:
            readable = item.shape is not None and item.dtype is not None
        except TypeError as error:
            raise EpisodeError(f"{self.path}: {name} has a type that cannot be read ({error})") from error
        if not readable:
            raise EpisodeError(f"{self.path}: {name} is an empty dataset, without even a shape")
        if item.external or item.is_virtual or item.compression not in _FILTERS:
            raise EpisodeError(f"{self.path}: {name} uses external or virtual storage or an unknown filter; refused")
        bounds.check_chunks(self.path, name, item)
        once, most = float(np.prod(item.shape, dtype=np.float64)) * item.dtype.itemsize, 8 * bounds.MAX_VALUES
        if name.startswith(IMAGES) and item.ndim:
            once, most = once / max(item.shape[0], 1), 3 * MAX_PIXELS if item.ndim > 2 else bounds.MAX_ROW
        elif h5py.check_string_dtype(item.dtype) is not None:
            most = bounds.MAX_TEXT
        if once > most:
            raise EpisodeError(
                f"{self.path}: {name} declares {item.dtype} {item.shape}, more than {most // 2**20} MiB at once; "
                "refused"
            )
        return item

    def _matrix(self, name: str) -> NDArray[np.float32]:
        dataset = self._dataset(name)
        if dataset.ndim == 2 and dataset.shape[0] == 0:
            raise EpisodeError(f"{self.path}: {name} has 0 steps")
        if dataset.ndim != 2 or dataset.shape[1] < 1 or dataset.dtype.kind not in "fiu":
            raise EpisodeError(
                f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, expected numbers of shape (steps, dimensions)"
            )
        steps, dimensions = dataset.shape
        if steps > bounds.MAX_STEPS or dimensions > bounds.MAX_DIMENSIONS or dataset.size > bounds.MAX_VALUES:
            raise EpisodeError(
                f"{self.path}: {name} has {steps} steps of {dimensions} dimensions; at most {bounds.MAX_STEPS} steps, "
                f"{bounds.MAX_DIMENSIONS} dimensions and {bounds.MAX_VALUES} values are read"
            )
        values = self._read(dataset, name)
        with np.errstate(over="ignore"):
            array = np.asarray(values, np.float32)
        if (np.isinf(array) & np.isfinite(values)).any():
            raise EpisodeError(f"{self.path}: {name} holds values that do not fit float32")
        return array

    def _read(self, dataset: h5py.Dataset, name: str) -> Any:
        try:
            return dataset[()]
        except _H5PY_ERRORS as error:
            raise EpisodeError(f"{self.path}: {name} cannot be read: {_first_line(error)}") from error

    def _seconds(self, name: str) -> NDArray[np.float64] | None:
        if name not in self._file:
            return None
        dataset = self._dataset(name)
        if dataset.dtype.kind not in "fiu":
            raise EpisodeError(f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, expected numbers, in seconds")
        if dataset.shape != (self.steps,):
            raise EpisodeError(f"{self.path}: {name} has shape {dataset.shape}, expected ({self.steps},)")
        return np.asarray(self._read(dataset, name), np.float64)

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
        dataset = self._dataset(name)
        if h5py.check_string_dtype(dataset.dtype) is None:
            raise EpisodeError(f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, expected text")
        try:
            return [_text(value) for value in bounds.read_texts(dataset)]
        except UnicodeDecodeError as error:
            raise EpisodeError(f"{self.path}: {name} is not valid UTF-8: {error.reason}") from error
        except _H5PY_ERRORS as error:
            raise EpisodeError(f"{self.path}: {name} cannot be read: {_first_line(error)}") from error

    # --- attributes: absent is None, of another type is an error ------------------------------------------

    def _attribute(self, name: str, of: str = "/") -> Any:
        attributes = self._file[of].attrs
        if name not in attributes:
            return None
        try:
            return bounds.read_attribute(attributes, name)
        except _H5PY_ERRORS as error:
            raise EpisodeError(f"{self.path}: attribute {name} cannot be read: {_first_line(error)}") from error

    def _wrong(self, name: str, value: Any, expected: str) -> EpisodeError:
        shown = value[:80] if isinstance(value, (str, bytes)) else value
        found = "empty" if isinstance(value, h5py.Empty) else " ".join(ascii(shown).split())[:80]
        return EpisodeError(f"{self.path}: attribute {name} is {found}, expected {expected}")

    def _flag(self, name: str) -> bool | None:
        value = self._attribute(name)
        if value is not None and not (isinstance(value, (bool, int, np.bool_, np.integer)) and value in (0, 1)):
            raise self._wrong(name, value, "true or false")
        return None if value is None else bool(value)

    def _number(self, name: str) -> float | None:
        value = self._attribute(name)
        if value is None:
            return None
        if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(float(value)):
            raise self._wrong(name, value, "a finite number")
        return float(value)

    def _whole(self, name: str) -> int | None:
        value = self._attribute(name)
        if value is not None and not isinstance(value, (int, np.integer)):
            raise self._wrong(name, value, "a whole number")
        return None if value is None else int(value)

    def _word(self, name: str, of: str = "/") -> str | None:
        value = self._attribute(name, of)
        if value is None:
            return None
        try:
            text = _text(value)
            text.encode()  # h5py hides bytes that are not UTF-8 in surrogates
        except (TypeError, UnicodeError) as error:
            raise self._wrong(name, value, "text") from error
        if len(text) > bounds.MAX_WORD:
            raise self._wrong(name, text, f"text of at most {bounds.MAX_WORD} characters")
        return text

    # --- structure ----------------------------------------------------------------------------------------

    def _image_datasets(self) -> dict[str, h5py.Dataset]:
        if IMAGES not in self._file or not isinstance(self._file[IMAGES], h5py.Group) or not len(self._file[IMAGES]):
            raise EpisodeError(f"{self.path}: no cameras below {IMAGES}; {_beside(self._file, IMAGES)}")
        if len(self._file[IMAGES]) > bounds.MAX_CAMERAS:
            raise EpisodeError(
                f"{self.path}: {len(self._file[IMAGES])} cameras below {IMAGES}, expected at most {bounds.MAX_CAMERAS}"
            )
        datasets = {name: self._dataset(f"{IMAGES}/{name}") for name in self._file[IMAGES]}
        expected = "(T, bytes) JPEG rows" if self.compressed else "(T, height, width, 3) pixels"
        for name, dataset in datasets.items():
            fits = dataset.ndim == 2 if self.compressed else dataset.ndim == 4 and dataset.shape[3] == 3
            if not fits or 0 in dataset.shape or dataset.dtype != np.uint8 or dataset.shape[0] != self.steps:
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
        if isinstance(error, _H5PY_ERRORS) and not isinstance(error, EpisodeError):
            raise EpisodeError(f"{path}: damaged HDF5 file ({_first_line(error)})") from error
        raise


@contextmanager
def open_episode(path: str | os.PathLike[str]) -> Iterator[Episode]:
    """Open an episode for the length of a `with` block. Raises EpisodeError for what is not one."""
    with load_episode(path) as episode:
        yield episode


def read_positions(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """observations/qpos (T, S) alone, in a tenth of the time of opening the episode.

    For files of our own making, of which many are compared: nothing else of the file is looked at. Raises EpisodeError.
    """
    try:
        with h5py.File(path, "r") as file:
            dataset = file["observations/qpos"]
            if dataset.size > bounds.MAX_VALUES:
                raise EpisodeError(f"{path}: observations/qpos declares {dataset.shape}, too many to be read")
            values = np.asarray(dataset[()], np.float32)
    except EpisodeError:
        raise
    except (*_H5PY_ERRORS, AttributeError) as error:
        raise EpisodeError(f"{path}: observations/qpos cannot be read: {_first_line(error)}") from error
    if values.ndim != 2 or not values.size:
        raise EpisodeError(f"{path}: observations/qpos has shape {values.shape}, expected (steps, dimensions)")
    return values


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


def _one_plain_chunk_a_step(dataset: h5py.Dataset) -> bool:
    """Each step is one chunk, stored without any filter and written in full."""
    filters = dataset.id.get_create_plist().get_nfilters()
    if dataset.chunks != (1, *dataset.shape[1:]) or filters:
        return False
    return bool(dataset.id.get_num_chunks() == dataset.shape[0])


def _text(value: Any) -> str:
    """Raises TypeError for what is not text."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not text")
    return str(value)


def _beside(file: h5py.File, name: str) -> str:
    """What there is in place of the missing `name`: in its group, or in the nearest one above that exists."""
    parent = name.rpartition("/")[0]
    while parent and parent not in file:
        parent = parent.rpartition("/")[0]
    group = file[parent] if parent else file
    if not isinstance(group, h5py.Group):
        return f"{parent} is a {type(group).__name__.lower()}, expected a group"
    names = sorted(group)
    found = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    return f"{parent} holds {found or 'nothing'}" if parent else f"found {found or 'an empty file'}"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
