"""Import a source: every episode of it becomes one of our files, or a reason why not.

An episode is written whole or not at all (dexvla.episodes.streaming), one frame in memory at a time; a broken one among
good ones is reported and left out. An import that is interrupted leaves the episodes that were finished.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dexvla.episodes.streaming import BrokenFrameError, stream_episode
from dexvla.errors import UserError
from dexvla.files import FULL
from dexvla.formats import registry
from dexvla.formats.base import ODD, FormatError, Importer, SourceEpisode
from dexvla.formats.shaping import shape
from dexvla.formats.sources import safe_name
from dexvla.spec import ImportProfile

_FORGOTTEN_SECONDS = 600  # a file that is being written changes more often
_ENDINGS = frozenset(
    (".hdf5", ".h5", ".he5", ".mcap", ".bag", ".db3", ".mp4", ".csv", ".json", ".tfrecord", ".parquet")
)


@dataclass(frozen=True, kw_only=True)
class ImportedEpisode:
    """source: what it was made from. episode: its name there. file: our file. warnings: what was left out or mended;
    guesses: what was assumed. cameras: their names, in the order of the profile."""

    source: str
    episode: str
    file: Path
    steps: int
    warnings: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        said = [*self.warnings, *(f"guessed: {guess}" for guess in self.guesses)]
        return {
            "source": self.source,
            "episode": self.episode,
            "file": str(self.file),
            "steps": self.steps,
            "warnings": said,
            "guesses": list(self.guesses),
            "cameras": list(self.cameras),
        }


@dataclass(frozen=True, kw_only=True)
class RefusedEpisode:
    """episode: its name in the source. keep_steps: the steps before the first broken one, where `keep_good_steps` would
    keep them; else None."""

    source: str
    episode: str
    reason: str
    keep_steps: int | None = None

    def to_json(self) -> dict[str, Any]:
        offered = {} if self.keep_steps is None else {"keep_steps": self.keep_steps}
        return {"source": self.source, "episode": self.episode, "reason": self.reason, **offered}


@dataclass(kw_only=True)
class ImportReport:
    format: str
    imported: list[ImportedEpisode] = field(default_factory=list)
    refused: list[RefusedEpisode] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "imported": [each.to_json() for each in self.imported],
            "refused": [each.to_json() for each in self.refused],
        }


OnEpisode = Callable[[int, int, ImportedEpisode | RefusedEpisode], Any]


def import_source(
    source: Path,
    out: Path,
    profile: ImportProfile,
    *,
    format: str | None = None,
    on_episode: OnEpisode | None = None,
) -> ImportReport:
    """Import all episodes of `source` into files below `out`, which is made if need be; nothing is overwritten.

    format: name of the source's format; None: the profile's, or found by looking. on_episode is given how many are
    done, how many there are, and what became of the last one. Raises FormatError where there is nothing to import, and
    OSError when the disk is full.
    """
    opened = open_source(source, profile, format=format)
    out.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    report = ImportReport(format=opened.importer.name)
    for number, name in enumerate(opened.names):
        became = import_one(opened, name, out, profile)
        if isinstance(became, ImportedEpisode):
            report.imported.append(became)
        else:
            report.refused.append(became)
        if on_episode is not None:
            on_episode(number + 1, len(opened.names), became)
    return report


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """A source whose format is known. names: of its episodes, in order. files: of ours, by name, relative to the folder
    of the import; another one for each."""

    source: Path
    importer: Importer
    names: tuple[str, ...]
    files: dict[str, str]


def open_source(source: Path, profile: ImportProfile, *, format: str | None = None) -> OpenedSource:
    """Raises FormatError where there is nothing to import. format: as of `import_source`."""
    if not source.exists():
        raise FormatError(f"{source}: no such file or folder")
    name = format or profile.format
    importer = registry.recognise(source) if name is None else registry.importer(name)
    try:
        names = tuple(importer.episodes(source))
    except ODD as error:
        if isinstance(error, UserError):
            raise
        raise FormatError(f"{source}: not what {importer.title} holds ({type(error).__name__}: {error})") from error
    taken: set[str] = set()
    return OpenedSource(
        source=source, importer=importer, names=names, files={name: _file_name(name, taken) for name in names}
    )


def import_one(opened: OpenedSource, name: str, out: Path, profile: ImportProfile) -> ImportedEpisode | RefusedEpisode:
    """One of its episodes into its file below `out`, or why not. Raises OSError when the disk is full."""
    source, importer, target = opened.source, opened.importer, out / opened.files[name]
    where = source_of(source, name)
    try:
        with importer.open(source, name, profile) as episode:
            return _write(episode, name, where, target, profile, folder=folder_of(source, name))
    except UserError as error:
        return RefusedEpisode(source=where, episode=name, reason=_one_line(error, where))
    except OSError as error:
        if error.errno in FULL:
            raise
        return RefusedEpisode(source=where, episode=name, reason=_one_line(error, where))
    except ODD as error:
        return RefusedEpisode(source=where, episode=name, reason=_one_line(odd(where, error), where))


def odd(where: str, error: Exception) -> FormatError:
    """What is said of one of `ODD` that no importer thought of."""
    return FormatError(
        f"{where}: holds a value that is none of its format's ({type(error).__name__}: {error}); leave it out"
    )


def _write(
    episode: SourceEpisode, name: str, where: str, target: Path, profile: ImportProfile, *, folder: str
) -> ImportedEpisode | RefusedEpisode:
    """Write it; where the end is broken, the steps before it, if the profile wants them."""
    steps, why = finite_steps(episode)
    if episode.broken_from is not None and episode.broken_from < steps:
        steps, why = episode.broken_from, f"steps {episode.broken_from} to {episode.steps - 1} are broken"
    while steps == episode.steps or (profile.keep_good_steps and steps > 0):
        shaped = shape(episode, profile, folder=folder, steps=steps)
        try:
            stream_episode(target, shaped.data, shaped.cameras)
        except BrokenFrameError as error:
            broken = error.step + max(-profile.action_shift, 0)
            assert broken < steps
            steps, why = broken, str(error)
            continue
        cut = () if not why else (why,)
        return ImportedEpisode(
            source=where,
            episode=name,
            file=target,
            steps=len(shaped.data.action),
            warnings=(*cut, *shaped.warnings),
            guesses=tuple(guess.text for guess in shaped.guesses),
            cameras=tuple(shaped.cameras),
        )
    if not steps:
        return RefusedEpisode(
            source=where, episode=name, reason=f"{why}: no step is whole, nothing can be kept; export it again"
        )
    offer = f"steps 0..{steps - 1} of {episode.steps} are whole: keep steps 0..{steps - 1} (--keep-good-steps)"
    return RefusedEpisode(source=where, episode=name, reason=f"{why}; {offer}", keep_steps=steps)


def finite_steps(episode: SourceEpisode) -> tuple[int, str]:
    """Steps before a tail that is NaN or infinite, and what is said of it. Raises FormatError where others follow."""
    for name, values in (("action", episode.action), ("qpos", episode.qpos)):
        if values.ndim != 2 or not values.size or len(values) != episode.steps:
            raise FormatError(f"{name} has shape {values.shape}, expected ({episode.steps}, dimensions)")
    good = np.isfinite(np.concatenate([episode.action, episode.qpos], axis=1)).all(axis=1)
    if good.all():
        return episode.steps, ""
    first = int(np.argmin(good))
    name = "action" if not np.isfinite(episode.action[first]).all() else "qpos"
    why = f"{name} holds values that are not finite, first at step {first}"
    if good[first:].any():
        raise FormatError(f"{why}, and finite ones after it; leave the episode out, or mend it")
    return first, why


def source_of(source: Path, name: str) -> str:
    """How an episode of a source is called in reports: its file where it has one of its own."""
    if source.is_dir() and (source / name).exists():
        return str(source / name)
    return str(source) if source.name == name else f"{source}#{name}"


def folder_of(source: Path, name: str) -> str:
    """Name of the folder that the episode lies in."""
    path = (source / name if source.is_dir() and (source / name).exists() else source).resolve()
    return path.name if path.is_dir() else path.parent.name


def _file_name(name: str, taken: set[str]) -> str:
    """A file below the folder of the import, by the episode's name; another one for each."""
    path = PurePosixPath(name)
    if path.suffix.lower() in _ENDINGS:
        path = path.with_suffix("")
    parts = [safe_name(part) for part in path.parts if part not in ("/", "..", ".")] or ["episode"]
    if parts[-1].isdecimal():
        parts[-1] = f"episode_{parts[-1]}"
    stem = "/".join(parts)
    found, number = stem, 2
    while found in taken:
        found, number = f"{stem}_{number}", number + 1
    taken.add(found)
    return f"{found}.hdf5"


def _sweep(out: Path) -> None:
    """Remove what an import that was killed left half written."""
    for path in out.rglob(".*.hdf5.*.tmp"):
        if path.is_file() and time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
            path.unlink(missing_ok=True)


def _one_line(error: Exception, where: str) -> str:
    return " ".join(str(error).split()).removeprefix(f"{where}: ")
