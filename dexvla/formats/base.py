"""The one interface of all formats.

An importer shows what a source holds as `SourceEpisode`s, exactly as it stands there; `dexvla.formats.importing`
applies the profile, judges times, writes our episode files and reports. An exporter is handed `ExportEpisode`s and
writes a folder; `dexvla.formats.exporting` finds the episodes, follows progress and sees to it that nothing half-made
stays. A new format is one module with an importer, an exporter, or both, and one line in dexvla.formats.registry.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import LabelSource, StepSource
from dexvla.errors import UserError
from dexvla.spec import ImportProfile, Lineage, Segment


class FormatError(UserError):
    """A source that is not of the format, or is broken: names file, entry, what was found and expected, what to do."""


# What values of a stranger may raise in the libraries that read them: a text where a number belongs, a list where one
# value does, a link in a circle. Importers say what they expect; what none thought of ends one episode, and no import.
ODD = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class GuessAbout(StrEnum):
    """What a guess is about: the question of an import that it answers."""

    COLOURS = "colours"
    TURNED = "turned"
    FPS = "fps"
    TIMES = "times"
    STATE = "state"
    ACTION = "action"
    LABELS = "labels"
    OUTCOME = "outcome"


@dataclass(frozen=True)
class Guess:
    """What a reader assumed where a source is silent. text: a full sentence. cameras: of the source, those that it is
    about; empty where it is about none of them, or all."""

    about: GuessAbout
    text: str
    cameras: tuple[str, ...] = ()


# --- in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SourceCamera:
    """One camera of an episode.

    frames: called once or more, gives T frames in order, one in memory at a time: encoded JPEG bytes where `jpeg`,
    else (H, W, 3) uint8 arrays; all of one size. swapped: red and blue are the wrong way round in what `frames` gives
    (for JPEG: in what a decoder makes of it). upside_down: they are known to stand on their heads. A profile may say
    otherwise of both. frame: one of them by its step, where that
    costs less than going through those before it; as `frames` gives it.
    """

    frames: Callable[[], Iterator[bytes | NDArray[np.uint8]]]
    jpeg: bool
    height: int
    width: int
    swapped: bool = False
    upside_down: bool = False
    timestamp: NDArray[np.float64] | None = None
    frame: Callable[[int], bytes | NDArray[np.uint8]] | None = None


@dataclass(frozen=True, kw_only=True)
class SourceEpisode:
    """One episode as its source has it, before any profile. T steps, A actions, S states.

    name: of the episode within its source, for people, instruction tables and reports ("episode_3", "demo_12").
    action (T, A), qpos (T, S): float32, in the source's own units. qvel: (T, S) or None where the source has none.
    timestamp: (T,), float64 seconds from any start, or integers as stored (ns, us, ms are told apart later), or None.
    fps: what the source says, Hz; None where it is silent (never taken from another episode). fps_guessed: it is a
    guess, which gives way to what a person says and to what the time stamps show.
    instructions: the first is the instruction, the others other wordings of it; empty where there is none.
    instruction_problem: why the one that is there cannot be taken; else empty.
    substeps: run-length coded over all T steps, or None. label_source: who made them, where known.
    state_names, action_names: one a dimension, or empty. base_action: (T, B) motion of a mobile base, not in `action`.
    warnings: what was left out or mended, in full sentences. guesses: what was assumed, told as such.
    broken_from: the first step of a broken tail, None where all steps are whole. Frames that cannot be had may also
    raise EpisodeError or ValueError out of `frames` when their turn comes.
    extra: further plain attributes of the file. lineage: the edit that made it, of all its steps.
    joint_positions (T, J), action_sent (T, A), host_timestamp (T,) seconds since 1970, step_source, marks, held,
    render_profile, reward: as in our own files, see dexvla.episodes.format.
    """

    name: str
    action: NDArray[np.float32]
    qpos: NDArray[np.float32]
    cameras: Mapping[str, SourceCamera]
    qvel: NDArray[np.float32] | None = None
    timestamp: NDArray[Any] | None = None
    fps: float | None = None
    fps_guessed: bool = False
    instructions: tuple[str, ...] = ()
    instruction_problem: str = ""
    substeps: tuple[Segment, ...] | None = None
    label_source: LabelSource | None = None
    success: bool | None = None
    sim: bool = False
    robot: str | None = None
    task: str | None = None
    seed: int | None = None
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    base_action: NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()
    guesses: tuple[Guess, ...] = ()
    broken_from: int | None = None
    extra: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    joint_positions: NDArray[np.float32] | None = None
    action_sent: NDArray[np.float32] | None = None
    host_timestamp: NDArray[np.float64] | None = None
    step_source: tuple[StepSource, ...] | None = None
    marks: tuple[int, ...] | None = None
    held: bool | None = None
    render_profile: str | None = None
    reward: float | None = None
    lineage: Lineage | None = None

    @property
    def steps(self) -> int:
        return int(self.action.shape[0])


class Importer(Protocol):
    """Reads one format. name: as on the command line. title: for people."""

    name: str
    title: str

    def recognises(self, source: Path) -> bool:
        """Whether `source`, a file or folder, is of this format: quick, and never raises for what is in it."""
        ...

    def episodes(self, source: Path) -> Sequence[str]:
        """Names of the episodes in `source`, in order; unique. Raises FormatError where there are none to be had.

        Where each file is an episode: its path relative to the folder, with its ending ("shirts/episode_0.hdf5").
        """
        ...

    def open(self, source: Path, name: str, profile: ImportProfile) -> AbstractContextManager[SourceEpisode]:
        """One of them, for as long as the context lasts. Raises FormatError (or EpisodeError) for a broken one.

        Of the profile an importer needs `state_entry` and `action_entry` at most; the rest is applied by others.
        """
        ...


# --- out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ExportEpisode:
    """An episode on its way out: our file, and the labels that people gave it (which stand in no file).

    name: unique among those exported, safe as a file's name. substeps: cover all steps, or empty: not labelled.
    """

    path: Path
    name: str
    instruction: str
    paraphrases: tuple[str, ...] = ()
    substeps: tuple[Segment, ...] = ()
    label_source: LabelSource | None = None
    success: bool | None = None
    tags: tuple[str, ...] = ()
    person: str | None = None


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of one episode. files: relative to the folder. loss_db: of its images, where a codec lost some:
    peak signal to noise ratio, dB, the worst frame that was looked at."""

    name: str
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    loss_db: float | None = None


class Exporter(Protocol):
    """Writes one format. name: as on the command line. title: for people."""

    name: str
    title: str

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        """Write all of them into the empty folder `out`, calling `on_episode` after each; returns warnings of all.

        An episode that cannot be written raises FormatError, and the caller removes `out`: an export is whole or not
        there.
        """
        ...
