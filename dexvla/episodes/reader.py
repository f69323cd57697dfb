"""Read an episode file of ours or of another tool, whatever its dimensions, cameras and kinds of images.

Only action, state and images are vital: opening checks their structure, shapes and dtypes once, and every message names
the file, what was found and what was expected. Whatever else does not fit is left out, and `Episode.warnings` says so.
Motion is read at once (it is small), frames one at a time on demand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.attributes import (
    attributes_of,
    depth_told,
    recovery_attributes_of,
    scene_attributes_of,
    unused_told,
)
from dexvla.episodes.cameras import Camera, cameras_of
from dexvla.episodes.entries import H5PY_ERRORS, Entries, first_line
from dexvla.episodes.format import (
    IMAGE_TIMES,
    IMAGES,
    JPEG_CHANNELS,
    MARKS,
    STEP_SOURCE,
    EpisodeAttributes,
    StepSource,
    base_left_out,
)
from dexvla.episodes.lineage import dimension_names_of, lineage_of
from dexvla.episodes.names import renamed_told, safe_names
from dexvla.episodes.step_facts import image_stamps, marks_of, stamps, step_source_of
from dexvla.episodes.times import Times, judge
from dexvla.episodes.wordings import Wordings, substeps_of, wordings_of
from dexvla.errors import EpisodeError
from dexvla.spec import Lineage

_EXACT_FLOAT32 = 2**24  # up to here every whole number is one of float32
_VITAL = ("action", "observations", "observations/qpos")


class Episode:
    """An open episode file; made by `open_episode`, closed with it.

    action (T, A), qpos and qvel (T, S), joint_positions (T, J) or None, all float32; timestamp (T,) float64 or None.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self._entries = entries = Entries(path, file)
        for name in sorted(entries.soft_links):
            if name in _VITAL or f"{name}/".startswith(f"{IMAGES}/"):
                entries.refuse_link(name)
        self.action, self.qpos = self._motion()
        self.steps: int = len(self.action)
        self.qvel, self.has_qvel = self._velocities()
        self.joint_positions = self._optional("observations/joint_positions")
        self.action_sent = self._optional("action_sent")
        self.sim: bool = bool(entries.optional(lambda: entries.flag("sim")))
        self._cameras = {camera.name: camera for camera in self._find_cameras()}
        self.cameras: tuple[str, ...] = tuple(self._cameras)

    @property
    def soft_links(self) -> frozenset[str]:
        """Names of soft links, which are not followed."""
        return self._entries.soft_links

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, mended or read otherwise than it is written, in full sentences. Reads all but frames."""
        prominent = depth_told(self._entries)
        if self.base_action is not None:
            prominent.insert(0, base_left_out(self.base_action.shape[1]))
        _ = (
            self.attributes,
            self.scene_attributes,
            self.recovery_attributes,
            self.lineage,
            self.dimension_names,
            self.wordings,
            self.substep_reasonings,
            self.times,
            self.host_timestamp,
            self.marks,
        )
        for camera in self.cameras:
            self.image_timestamp(camera)
        if told := self._lengths_told():
            self._entries.warn(told)
        links = sorted(self._entries.soft_links)
        linked = [f"soft links are never followed; left out: {', '.join(links[:8])}"] if links else []
        return (*prominent, *self._entries.warnings, *linked, *unused_told(self._entries))

    # --- what the file says -------------------------------------------------------------------------------

    @cached_property
    def attributes(self) -> EpisodeAttributes:
        """The known attributes of the file; what is absent is None."""
        return attributes_of(self._entries, sim=self.sim)

    @cached_property
    def scene_attributes(self) -> dict[str, str | bool | float]:
        """What an episode says of its scene beside `attributes`, by the names that it gives; often nothing."""
        task = self.attributes.task
        return self._entries.optional(lambda: scene_attributes_of(self._entries, task)) or {}

    @cached_property
    def recovery_attributes(self) -> dict[str, str | bool | float]:
        """What an episode with mishaps or a correction says of them beside `attributes`; nothing for others."""
        return recovery_attributes_of(self._entries)

    @cached_property
    def lineage(self) -> Lineage | None:
        """The edit that made this file of others, or None."""
        return self._entries.optional(lambda: lineage_of(self._entries, self.steps))

    @cached_property
    def dimension_names(self) -> dict[str, tuple[str, ...]]:
        """What the file calls its dimensions: "state_names", "action_names", as far as it does."""
        return dimension_names_of(self._entries, state=self.qpos.shape[1], action=self.action.shape[1])

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the state's dimensions, where the file names them; else empty."""
        return self.dimension_names.get("state_names", ())

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.dimension_names.get("action_names", ())

    @cached_property
    def wordings(self) -> Wordings:
        """The instruction and its other wordings, as far as there are any."""
        return wordings_of(self._entries)

    @property
    def instruction(self) -> str:
        """Raises EpisodeError where there is none."""
        if not self.wordings.texts:
            raise EpisodeError(f"{self.path}: {self.wordings.problem}; give one when it is imported (--instruction)")
        return self.wordings.texts[0]

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """Other wordings of the instruction."""
        return self.wordings.texts[1:]

    @cached_property
    def substep_reasonings(self) -> tuple[str, ...] | None:
        """One text a step, (T,), or None if the file has no labels. A single `reasoning` is spread over all steps."""
        return substeps_of(self._entries, self.steps)

    @property
    def label_source(self) -> str | None:
        if not self._entries.has("substep_reasonings"):
            return None
        return self._entries.optional(lambda: self._entries.word("label_source", of="substep_reasonings"))

    @cached_property
    def base_action(self) -> NDArray[np.float32] | None:
        """(T, B) motion of a mobile base, or None if it has none, or one that never moves."""
        found = self._optional("base_action")
        if found is not None and not np.isfinite(found).all():
            self._entries.warn("base_action holds values that are not finite; left out")
            found = None
        if found is not None and not found.any():
            self._entries.warn(f"base_action, {found.shape[1]} dimensions, is zero at all steps; left out")
            found = None
        return found

    # --- time ---------------------------------------------------------------------------------------------

    @cached_property
    def stored_timestamp(self) -> NDArray[np.generic] | None:
        """(T,) numbers as they stand in the file, whatever they mean, or None."""
        if not self._entries.has("timestamp"):
            return None
        return self._entries.optional(lambda: self._entries.column("timestamp", self.steps))

    @cached_property
    def times(self) -> Times | None:
        """What the time stamps mean, or None without any."""
        stored = self.stored_timestamp
        if stored is None:
            return None
        judged = judge(stored, fps=self.attributes.fps)
        for told in judged.said:
            self._entries.warn(told)
        return judged

    @property
    def timestamp(self) -> NDArray[np.float64] | None:
        """(T,) seconds, or None if there are none that can be kept."""
        return None if self.times is None else self.times.seconds

    def image_timestamp(self, camera: str) -> NDArray[np.float64] | None:
        return self._image_timestamps.get(camera)

    @cached_property
    def _image_timestamps(self) -> dict[str, NDArray[np.float64]]:
        return image_stamps(self._entries, self._names, self._cameras, self.times, self.steps)

    def stored_image_timestamp(self, camera: str) -> NDArray[np.float64] | None:
        """(T,) numbers as they stand in the file, on the clock of `stored_timestamp`, or None."""
        name = next(f"{IMAGE_TIMES}/{original}" for original, safe in self._names.items() if safe == camera)
        if not self._entries.has(name):
            return None
        return self._entries.optional(lambda: stamps(self._entries, name, self.steps))

    @cached_property
    def host_timestamp(self) -> NDArray[np.float64] | None:
        if not self._entries.has("host_timestamp"):
            return None
        return self._entries.optional(lambda: stamps(self._entries, "host_timestamp", self.steps))

    # --- who did what -------------------------------------------------------------------------------------

    @cached_property
    def step_source(self) -> tuple[StepSource, ...] | None:
        """Who commanded each step, (T,), or None if the file does not say. Raises EpisodeError for what is neither:
        it decides what is learnt."""
        return step_source_of(self._entries, self.steps) if self._entries.has(STEP_SOURCE) else None

    @cached_property
    def marks(self) -> tuple[int, ...] | None:
        """Steps at which who drove said that a substep begins, rising, or None if the file does not say."""
        return self._entries.optional(lambda: marks_of(self._entries, self.steps)) if self._entries.has(MARKS) else None

    # --- frames -------------------------------------------------------------------------------------------

    def is_jpeg(self, camera: str) -> bool:
        """Whether `stored_frame` gives JPEG bytes and not pixels."""
        return self._camera(camera).jpeg

    def is_swapped(self, camera: str) -> bool:
        """Whether red and blue are the wrong way round in what a decoder makes of encoded rows. `frame` has them right,
        and so has `stored_frame` where it gives pixels."""
        return self._camera(camera).swapped

    def packing(self, camera: str) -> str | None:
        """How pixels are packed in the file: by a filter of HDF5, each as a "png" or its like, or not at all."""
        source = self._camera(camera)
        return "png" if source.recoded else source.dataset.compression

    @property
    def compressed(self) -> bool:
        """Whether any camera holds JPEG rows."""
        return any(camera.jpeg for camera in self._cameras.values())

    def stored_frame(self, camera: str, step: int) -> NDArray[np.uint8]:
        """(H, W, 3) pixels, or one row of JPEG bytes with its zero padding; as stored where the file is ours."""
        source = self._camera(camera)
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of an episode of {self.steps} steps")
        try:
            return source.stored(step)
        except (OSError, RuntimeError, ValueError) as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step} cannot be read: {error}") from error

    def frame(self, camera: str, step: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, decoded if the file holds JPEG rows."""
        stored = self.stored_frame(camera, step)
        try:
            return self._cameras[camera].frame(stored)
        except ValueError as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step}: {error}") from error

    def frame_size(self, camera: str, step: int = 0, *, row: NDArray[np.uint8] | None = None) -> tuple[int, int]:
        """(height, width) of one of the camera's images, from its header. row: its JPEG bytes, if they are there."""
        source = self._camera(camera)
        if source.fixed_size is not None:
            return source.fixed_size
        try:
            return source.size(source.row(step) if row is None else row)
        except EpisodeError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise EpisodeError(f"{self.path}: camera {camera}, step {step}: {error}") from error

    def row_lengths(self) -> dict[str, NDArray[np.int64]] | None:
        """Bytes of each JPEG row, (T,) a camera, (0,) for pixels, as `compress_len` says; None if it does not fit."""
        if not self.compressed or self._lengths_told() or not self._entries.has("compress_len"):
            return None
        dataset = self._entries.dataset("compress_len")
        lengths = np.asarray(self._entries.read(dataset, "compress_len"), np.float64)
        # its rows are in the order of the names that stand in the file, which may be other ones than ours
        names = [name for _, name in sorted(self._names.items()) if name in self._cameras]
        widths = np.asarray([[self._cameras[name].longest_row] for name in names])
        exact = (lengths == np.round(lengths)) & (lengths >= 0) & (lengths <= np.minimum(widths, _EXACT_FLOAT32))
        if not exact.all():
            return None
        none = np.zeros(0, np.int64)
        rows = lengths.astype(np.int64)
        return {name: row if self.is_jpeg(name) else none for name, row in zip(names, rows, strict=True)}

    def _lengths_told(self) -> str | None:
        """Why `compress_len` is not used; None where it is, or is not there."""
        if not self.compressed or not self._entries.has("compress_len"):
            return None
        item, expected = self._file["compress_len"], (len(self.cameras), self.steps)
        rest = "ignored, JPEG rows are read to their end marker"
        if not isinstance(item, h5py.Dataset):
            return f"compress_len is a {type(item).__name__.lower()}, expected a dataset; {rest}"
        if item.shape != expected or item.dtype.kind not in "fiu":
            kind = "" if item.dtype.kind in "fiu" else f" of {item.dtype}"
            return f"compress_len has shape {item.shape}{kind}, expected {expected}; {rest}"
        return None

    # --- structure ----------------------------------------------------------------------------------------

    def _camera(self, camera: str) -> Camera:
        if camera not in self._cameras:
            raise EpisodeError(f"{self.path}: no camera {camera!r}; it has {', '.join(self.cameras)}")
        return self._cameras[camera]

    def _motion(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(action, qpos) of the steps that have both: what recorders write one more of is the last, seen after the last
        action, or done when nothing was seen any more. Rows of one number belong to one step."""
        action, qpos = self._entries.matrix("action"), self._entries.matrix("observations/qpos")
        actions, rows = len(action), len(qpos)
        steps = min(actions, rows)
        self._one_more = rows == steps + 1
        if self._one_more:
            self._entries.warn(
                f"observations have {rows} steps, action has {actions}; the last observation is left out"
            )
        elif actions == steps + 1:
            self._entries.warn(f"action has {actions} steps, observations have {rows}; the last action is left out")
        if not steps or max(actions, rows) > steps + 1:
            raise EpisodeError(f"{self.path}: observations/qpos has {rows} rows, action has {actions}")
        return action[:steps], qpos[:steps]

    def _velocities(self) -> tuple[NDArray[np.float32], bool]:
        """qvel (T, S), zeros where the file has none that fit, and whether it has."""
        name = "observations/qvel"
        found, wrong = self._optional(name), None
        if found is not None and found.shape != self.qpos.shape:
            wrong = f"has {found.shape[1]} dimensions, expected {self.qpos.shape[1]} as qpos"
        elif found is not None and not np.isfinite(found).all():
            wrong = f"holds {int((~np.isfinite(found)).sum())} values that are NaN or infinite"
        if wrong:
            self._entries.warn(f"{name} {wrong}; left out and read as zeros")
        return (np.zeros_like(self.qpos), False) if found is None or wrong else (found, True)

    def _optional(self, name: str) -> NDArray[np.float32] | None:
        """(T, dimensions), or None where it is not there or does not fit."""
        if not self._entries.has(name):
            return None
        array = self._entries.optional(lambda: self._entries.matrix(name))
        if array is None:
            return None
        if self._one_more and len(array) == self.steps + 1 and name.startswith("observations/"):
            array = array[: self.steps]
        if len(array) != self.steps:
            self._entries.warn(f"{name} has {len(array)} rows, action has {self.steps}; left out")
            return None
        return array

    def _find_cameras(self) -> list[Camera]:
        entries = self._entries
        if not entries.has(IMAGES) or not isinstance(self._file[IMAGES], h5py.Group) or not len(self._file[IMAGES]):
            raise EpisodeError(f"{self.path}: no cameras below {IMAGES}; {entries.beside(IMAGES)}")
        if len(self._file[IMAGES]) > bounds.MAX_CAMERAS:
            raise EpisodeError(
                f"{self.path}: {len(self._file[IMAGES])} cameras below {IMAGES}, expected at most {bounds.MAX_CAMERAS}"
            )
        self.colours_told = False  # whether the file says the order of encoded rows
        self._names = safe_names(self._file[IMAGES])
        for told in renamed_told(self._names):
            entries.warn(told)
        compress = entries.optional(lambda: entries.flag("compress"))
        order = entries.optional(lambda: entries.word(JPEG_CHANNELS))
        self.colours_told = order in ("rgb", "bgr")
        return cameras_of(entries, self.steps, self._names, rgb=order == "rgb", compress=compress)

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
            f"{path}: not a readable HDF5 file ({first_line(error)}); re-export it or leave it out"
        ) from error
    try:
        return Episode(path, file)
    except BaseException as error:
        file.close()
        if isinstance(error, H5PY_ERRORS) and not isinstance(error, EpisodeError):
            raise EpisodeError(f"{path}: damaged HDF5 file ({first_line(error)})") from error
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
    except (*H5PY_ERRORS, AttributeError) as error:
        raise EpisodeError(f"{path}: observations/qpos cannot be read: {first_line(error)}") from error
    if values.ndim != 2 or not values.size:
        raise EpisodeError(f"{path}: observations/qpos has shape {values.shape}, expected (steps, dimensions)")
    return values
