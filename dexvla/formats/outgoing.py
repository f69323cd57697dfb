"""What exporters of media and tables ask an episode: its clock, its frames, its substeps, and how much a codec lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.times import exact_rate
from dexvla.errors import EpisodeError
from dexvla.formats.base import ExportEpisode, FormatError
from dexvla.spec import FPS_MOST, Segment

_GUESSED_FPS = 50.0  # Hz, of the robots that this product began with
_EVEN = 0.25  # of a period: steps that lie no further from an even grid keep one


@dataclass(frozen=True)
class Clock:
    """When the steps of an episode are, seconds from its first one.

    seconds: (T,), rising. period: of one step; the last one lasts as long. even: `seconds` are an even grid of fps.
    measured: `seconds` come from the file's timestamps. warnings: what was assumed. guessed: nobody said the rate.
    """

    seconds: NDArray[np.float64]
    fps: float
    even: bool
    measured: bool
    warnings: tuple[str, ...]
    guessed: bool = False

    @property
    def period(self) -> float:
        return 1 / self.fps

    @property
    def end(self) -> float:
        return float(self.seconds[-1]) + self.period

    def start_of(self, step: int) -> float:
        """Seconds; of step T: the end of the episode."""
        return self.end if step == len(self.seconds) else float(self.seconds[step])


@dataclass(frozen=True)
class Outgoing:
    """An open episode with the labels that it is exported with."""

    labels: ExportEpisode
    file: Episode

    @property
    def substeps(self) -> tuple[Segment, ...]:
        """Those that it is exported with; empty where there are none. What the file holds counts no more: whoever made
        the choice took it over, or left it out."""
        return self.labels.substeps

    @property
    def success(self) -> bool | None:
        return self.labels.success

    @cached_property
    def clock(self) -> Clock:
        return clock_of(self.file)

    def jpeg(self, camera: str, step: int) -> bytes:
        """The stored JPEG, without its padding. For files of JPEG rows."""
        lengths = self._lengths
        row = self.file.stored_frame(camera, step)
        if lengths is not None:
            return row[: lengths[camera][step]].tobytes()
        return row.tobytes().rstrip(b"\0")

    @cached_property
    def _lengths(self) -> dict[str, NDArray[np.int64]] | None:
        return self.file.row_lengths()


@contextmanager
def outgoing(episode: ExportEpisode) -> Iterator[Outgoing]:
    """Open an episode on its way out. Raises FormatError for a file that cannot be read or labels that don't fit it."""
    try:
        with open_episode(episode.path) as file:
            if episode.substeps and episode.substeps[-1].end != file.steps:
                raise FormatError(
                    f"{episode.path}: its labels cover {episode.substeps[-1].end} steps, it has {file.steps}; "
                    "label it again or restore it from a backup"
                )
            yield Outgoing(episode, file)
    except EpisodeError as error:
        raise FormatError(str(error)) from error


def clock_of(file: Episode) -> Clock:
    """The rate that the file states, else that of its timestamps, else a guess; never that of another episode."""
    fps, stamps = file.attributes.fps, file.timestamp
    warnings: list[str] = []
    guessed = bool(file.attributes.fps_guessed)
    if fps is not None and guessed:
        warnings.append(f"its rate of {fps:g} Hz was guessed when it was taken in")
    if stamps is not None and not (np.isfinite(stamps).all() and (np.diff(stamps) > 0).all()):
        warnings.append("its timestamps do not rise: an even rate is used instead")
        stamps = None
    if fps is None and stamps is not None and file.steps > 1:
        fps = min(exact_rate(1 / float(np.median(np.diff(stamps)))), FPS_MOST)
    if fps is None:
        fps, guessed = _GUESSED_FPS, True
        warnings.append(f"it says neither its rate nor times: {fps:g} Hz are a guess")
    grid = np.arange(file.steps) / fps
    if stamps is None:
        return Clock(grid, fps, True, False, tuple(warnings), guessed)
    seconds = stamps - stamps[0]
    off = float(np.abs(seconds - grid).max())
    if off <= _EVEN / fps:
        return Clock(grid, fps, True, True, tuple(warnings), guessed)
    warnings.append(f"its steps are up to {off:.3f} s away from an even {fps:g} Hz: each keeps its own time")
    return Clock(seconds, fps, False, True, tuple(warnings), guessed)


def psnr(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of two images of one size, dB; infinite where they are the same."""
    error = float(np.mean((image.astype(np.float32) - other.astype(np.float32)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def loss_of(values: list[float]) -> float | None:
    """The worst of several ratios; None where nothing was lost."""
    worst = min(values, default=float("inf"))
    return None if worst == float("inf") else round(worst, 2)
