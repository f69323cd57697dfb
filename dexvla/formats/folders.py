"""In: a CSV table of steps beside the videos, or the folders of images, of its cameras.

    one/steps.csv, one/cam_high.mp4, one/cam_wrist.mp4        an episode in a folder of its own
    two.csv, two/cam_high.mp4                                 a table beside the folder of the same name
    three/steps.csv, three/cam_high/000.jpg, 001.jpg ...      images; a column named as the camera may name its files

An `episodes.csv` at the top, as our export writes it, says instruction, rate and outcome of each. Tables and images
lead nowhere out of the folder.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.finding import natural_key
from dexvla.episodes.format import LabelSource
from dexvla.episodes.jpeg import decode_jpeg, jpeg_size
from dexvla.episodes.lineage import lineage_within
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.messages import decode_other
from dexvla.formats.sources import files_of, inside
from dexvla.formats.stored import facts_read, names_read, rate_guessed
from dexvla.formats.tables import Said, StepTable, read_episode_table, read_steps
from dexvla.formats.videos import VIDEO_ENDINGS, read_video, video_facts
from dexvla.spec import ImportProfile

_EPISODES = "episodes.csv"
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_JPEG = b"\xff\xd8"
_MAY_DIFFER = 0.02  # share of the steps by which a camera may have more or fewer frames, or two
_NAMED_SO = ("images", "videos", "frames", "cameras")  # folders that only hold cameras


@dataclass(frozen=True)
class _Place:
    table: Path
    folder: Path


@dataclass(frozen=True)
class _Seen:
    """A camera: as many frames as it has, and how they are read for the first T steps. note: what is told of them."""

    frames: int
    camera: Callable[[int], SourceCamera]
    fps: float | None = None
    note: str | None = None


class _FolderImporter(ABC):
    """What both have in common; cameras differ."""

    name: str
    title: str

    def __init__(self) -> None:
        self._last: tuple[Path, dict[str, _Place]] | None = None

    def recognises(self, source: Path) -> bool:
        try:
            return bool(self._places(source))
        except (FormatError, OSError):
            return False

    def episodes(self, source: Path) -> Sequence[str]:
        places = self._places(source)
        self._last = source, places
        if not places:
            raise FormatError(
                f"{source}: no {self.title}; expected a folder an episode with one CSV table, and its cameras beside it"
            )
        return list(places)

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        places = self._known(source, name)
        if name not in places:
            raise FormatError(f"{source}: no episode {name!r}; it has {', '.join(list(places)[:8])}")
        place = places[name]
        table = read_steps(inside(source, place.table, named_by=str(source)), profile)
        yield _episode(name, place, table, self._cameras(source, place, table), _said(source, name))

    def _known(self, source: Path, name: str) -> dict[str, _Place]:
        """As `_places`, without going through the whole source for each of its episodes."""
        if self._last is None or self._last[0] != source or name not in self._last[1]:
            self._last = source, self._places(source)
        return self._last[1]

    def _places(self, source: Path) -> dict[str, _Place]:
        """Episodes by name."""
        if not source.is_dir():
            return {}
        found: dict[str, _Place] = {}
        tables: dict[Path, Path] = {}  # by the folder of their cameras
        for table in sorted(_tables(source), key=natural_key):
            if table.name.startswith(".") or table.name == _EPISODES:
                continue
            beside = table.with_suffix("")
            folder = beside if beside.is_dir() else table.parent
            if not self._has_cameras(folder, table):
                continue
            inner = table.relative_to(source)
            name = (inner.with_suffix("") if folder in (beside, source) else inner.parent).as_posix()
            if (other := tables.setdefault(folder, table)) != table:
                raise FormatError(
                    f"{folder}: two tables, {other.name} and {table.name}; expected one an episode, move one away"
                )
            found[name] = _Place(table, folder)
        return found

    @abstractmethod
    def _has_cameras(self, folder: Path, table: Path) -> bool:
        """Whether the folder of a table has cameras of this kind."""

    @abstractmethod
    def _cameras(self, source: Path, place: _Place, table: StepTable) -> dict[str, _Seen]:
        """The cameras of a table, by name."""


def _tables(source: Path) -> Iterator[Path]:
    return (path for path in source.rglob("*") if path.suffix.lower() == ".csv" and path.is_file())


class VideoFolderImporter(_FolderImporter):
    name = "mp4-csv"
    title = "Videos and a table (mp4 + CSV)"

    def _has_cameras(self, folder: Path, table: Path) -> bool:
        return any(path.suffix.lower() in VIDEO_ENDINGS for path in (*folder.iterdir(), *_inner(folder)))

    def _cameras(self, source: Path, place: _Place, table: StepTable) -> dict[str, _Seen]:
        seen = {}
        for folder in (place.folder, *_holders(place.folder)):
            for path in files_of(folder, VIDEO_ENDINGS, root=source):
                if path.stem in seen:
                    raise FormatError(f"{path}: another video of camera {path.stem}; expected one, move one away")
                seen[path.stem] = _video(path)
        return seen


class ImageFolderImporter(_FolderImporter):
    name = "images-csv"
    title = "Folders of images and a table (images + CSV)"

    def _has_cameras(self, folder: Path, table: Path) -> bool:
        inner = [*_subfolders(folder), *(one for holder in _holders(folder) for one in _subfolders(holder))]
        return any(_is_image(path) for place in (folder, *inner) for path in place.iterdir())

    def _cameras(self, source: Path, place: _Place, table: StepTable) -> dict[str, _Seen]:
        folders = {one.name: one for holder in (place.folder, *_holders(place.folder)) for one in _subfolders(holder)}
        seen = {}
        for column, cells in table.texts.items():
            if column in folders or any(_is_image(PurePath(cell)) for cell in cells):
                folder = folders.get(column, place.folder)
                seen[column] = _images(folder, [_named(source, place, column, folder, cell) for cell in cells])
        for name, folder in folders.items():
            if name not in seen and (files := files_of(folder, _IMAGE_ENDINGS, root=source)):
                seen[name] = _counted(folder, files, table.steps)
        if not seen and (files := files_of(place.folder, _IMAGE_ENDINGS, root=source)):
            seen["camera"] = _counted(place.folder, files, table.steps)
        return seen


def _is_image(path: PurePath) -> bool:
    return path.suffix.strip().lower() in _IMAGE_ENDINGS


def _subfolders(folder: Path) -> list[Path]:
    """Those that are no links, in order."""
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."),
        key=natural_key,
    )


def _holders(folder: Path) -> list[Path]:
    return [path for path in _subfolders(folder) if path.name.lower() in _NAMED_SO]


def _inner(folder: Path) -> Iterator[Path]:
    for holder in _holders(folder):
        yield from holder.iterdir()


# --- cameras ----------------------------------------------------------------------------------------------


def _video(path: Path) -> _Seen:
    facts = video_facts(path)

    def camera(steps: int) -> SourceCamera:
        return SourceCamera(frames=lambda: read_video(path, steps), jpeg=False, height=facts.height, width=facts.width)

    return _Seen(facts.frames, camera, facts.fps)


def _named(source: Path, place: _Place, column: str, folder: Path, text: str) -> Path:
    """A file that a cell names: beside the table, in the episode's folder, or in the camera's. Never one outside."""
    name = PurePath(text.strip().replace("\\", "/"))
    if not text.strip() or name.is_absolute() or ".." in name.parts:
        raise FormatError(
            f"{place.table}: column {column} names {text[:80]!r}, expected a file inside {source}; refused"
        )
    tries = [base / name for base in (place.table.parent, place.folder, folder)]
    path = next((path for path in tries if path.exists()), tries[0])
    return inside(source, path, named_by=f"{place.table}, column {column}")


def _images(folder: Path, files: list[Path]) -> _Seen:
    """JPEG as it is where all of them are, otherwise pixels: the first bytes of each decide, not its name."""
    first = _image(files[0])
    height, width = _size(first)
    encoded = sum(map(_is_jpeg, files))
    jpeg = encoded == len(files)
    note = (
        None if encoded in (0, len(files)) else f"{encoded} of its {len(files)} images are JPEG: all are kept as pixels"
    )

    def camera(steps: int) -> SourceCamera:
        def frame(step: int) -> bytes | NDArray[np.uint8]:
            path = files[step]
            image = _image(path)
            if _size(image) != (height, width):
                raise FormatError(f"{path}: {_kind(image)}, expected {_kind(first)} as {files[0].name}; convert it")
            return decode_jpeg(image) if isinstance(image, bytes) and not jpeg else image

        return SourceCamera(frames=lambda: map(frame, range(steps)), jpeg=jpeg, height=height, width=width, frame=frame)

    return _Seen(len(files), camera, note=note)


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _JPEG


def _counted(folder: Path, files: list[Path], rows: int) -> _Seen:
    """Images in the order of their numbers. Raises FormatError where one is missing: those after it would belong to
    rows before theirs."""
    numbers = [re.search(r"(\d+)$", file.stem) for file in files]
    found = [int(number[1]) for number in numbers if number]
    gaps = [at for at, (before, after) in enumerate(pairwise(found)) if after - before != 1]
    if len(files) != rows and len(found) == len(files) and 0 < len(gaps) < len(files) / 2:
        raise FormatError(
            f"{folder}: {len(files)} images for {rows} rows, and none between {files[gaps[0]].name} and "
            f"{files[gaps[0] + 1].name}; put the missing ones back, or name the image of each row in a column"
        )
    return _images(folder, files)


def _image(path: Path) -> bytes | NDArray[np.uint8]:
    size = path.stat().st_size
    if size > bounds.MAX_ROW:
        raise FormatError(f"{path}: {size} bytes, at most {bounds.MAX_ROW} are one image; expected a frame")
    content = path.read_bytes()
    try:
        if content[:2] == _JPEG:
            jpeg_size(content)
            return content
        return decode_other(content)
    except ValueError as error:
        raise FormatError(f"{path}: {error}; convert the image or leave the episode out") from error


def _kind(image: bytes | NDArray[np.uint8]) -> str:
    height, width = _size(image)
    return f"{height} x {width} {'JPEG' if isinstance(image, bytes) else 'pixels'}"


def _size(image: bytes | NDArray[np.uint8]) -> tuple[int, int]:
    return jpeg_size(image) if isinstance(image, bytes) else (image.shape[0], image.shape[1])


# --- the episode ------------------------------------------------------------------------------------------


def _said(source: Path, name: str) -> Said:
    path = source / _EPISODES
    if not path.is_file():
        return Said()
    state = path.stat()
    return _said_of(inside(source, path, named_by=str(source)), state.st_mtime_ns, state.st_size).get(name, Said())


@lru_cache(maxsize=1)
def _said_of(path: Path, _changed: int, _size: int) -> Mapping[str, Said]:
    """Read once for all episodes of a source."""
    return read_episode_table(path)


def _episode(name: str, place: _Place, table: StepTable, seen: dict[str, _Seen], said: Said) -> SourceEpisode:
    if not seen:
        raise FormatError(f"{place.folder}: no camera with frames in it; expected at least one")
    if len(seen) > bounds.MAX_CAMERAS:
        raise FormatError(f"{place.folder}: {len(seen)} cameras, expected at most {bounds.MAX_CAMERAS}")
    steps = min(table.steps, *(camera.frames for camera in seen.values()))
    warnings, guesses = list(table.warnings), list(table.guesses)
    for camera, one in seen.items():
        if one.note:
            warnings.append(f"camera {camera}: {one.note}")
        differs = abs(one.frames - table.steps)
        if differs > max(2, _MAY_DIFFER * table.steps):
            raise FormatError(
                f"{place.folder}: camera {camera} has {one.frames} frames, {place.table.name} has {table.steps} rows; "
                "expected one frame a row. Bring both to one rate, or leave the episode out"
            )
        if differs:
            warnings.append(
                f"camera {camera} has {one.frames} frames for {table.steps} rows: the first {steps} are kept"
            )
            guesses.append(Guess(GuessAbout.TIMES, f"camera {camera} and the table begin at the same time", (camera,)))
    if left := [column for column in table.texts if column not in seen and column.strip().lower() != "source"]:
        warnings.append(
            f"columns that an episode of ours has no place for are left out: {', '.join(left[:12])}"
            + (f" and {len(left) - 12} more" if len(left) > 12 else "")
        )
    rates = {one.fps for one in seen.values() if one.fps}
    fps = said.fps
    if fps is None and table.timestamp is None and len(rates) == 1:
        fps = rates.pop()
        guesses.append(Guess(GuessAbout.FPS, f"{fps:g} Hz, the rate of its videos"))
    elif fps is None and table.timestamp is None and rates:
        warnings.append(f"its videos have {' and '.join(f'{rate:g}' for rate in sorted(rates))} Hz: none is taken")
    labels = table.substeps
    known = {str(source): source for source in LabelSource} if labels else {}
    ours = said.ours if said.ours.get("steps") == table.steps else {}
    facts = facts_read(ours, table.steps)
    if facts and steps < table.steps:
        facts["marks"] = facts["marks"] and tuple(mark for mark in facts["marks"] if mark < steps)
        facts["lineage"] = facts["lineage"] and lineage_within(facts["lineage"], 0, steps)
    return SourceEpisode(
        name=name,
        action=table.action[:steps],
        qpos=table.qpos[:steps],
        qvel=None if table.qvel is None else table.qvel[:steps],
        cameras={camera: one.camera(steps) for camera, one in seen.items()},
        timestamp=None if table.timestamp is None else table.timestamp[:steps],
        fps=fps,
        fps_guessed=any(guess.about is GuessAbout.FPS for guess in guesses) or rate_guessed(ours),
        instructions=said.instructions or table.instructions,
        substeps=None
        if labels is None
        else tuple(part.model_copy(update={"end": min(part.end, steps)}) for part in labels if part.start < steps),
        step_source=None if table.step_source is None else table.step_source[:steps],
        success=said.success,
        robot=said.robot,
        state_names=names_read(ours, "state_names") or table.state_names,
        action_names=names_read(ours, "action_names") or table.action_names,
        warnings=tuple(warnings),
        guesses=tuple(guesses),
        **{**facts, "task": said.task, "label_source": known.get(said.label_source or "")},
    )


MP4_CSV = VideoFolderImporter()
IMAGES_CSV = ImageFolderImporter()
