"""Export: find the episodes of a source with their labels, hand them to an exporter, report what became of them.

An exporter writes into a hidden folder beside the wanted place, which takes that place when all of it is written: an
export is whole or not there.
"""

import errno
import fcntl
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexvla.episodes.format import LabelSource
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.manifest import EpisodeSet
from dexvla.episodes.reader import Episode, open_episode
from dexvla.episodes.segments import run_length
from dexvla.errors import EpisodeError
from dexvla.files import atomic_directory, fsync_path
from dexvla.formats import registry
from dexvla.formats.base import Exported, ExportEpisode, FormatError
from dexvla.spec import EpisodeEntry

_WRITTEN = ".exporting"  # ending of the hidden folder
_YOUNG_SECONDS = 5
_LONGEST_NAME = 80  # characters; formats add endings and numbers


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export wrote. size: of all its files, bytes. warnings: of the export as a whole, full sentences."""

    format: str
    out: Path
    episodes: tuple[Exported, ...]
    warnings: tuple[str, ...]
    files: int
    size: int

    @property
    def loss_db(self) -> float | None:
        """The worst peak signal to noise ratio of any image, dB; None where no codec lost anything."""
        return min((one.loss_db for one in self.episodes if one.loss_db is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "out": str(self.out),
            "files": self.files,
            "bytes": self.size,
            "loss_db": self.loss_db,
            "warnings": list(self.warnings),
            "episodes": [
                {
                    "name": one.name,
                    "files": list(one.files),
                    "warnings": list(one.warnings),
                    "loss_db": one.loss_db,
                }
                for one in self.episodes
            ],
        }


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """The episodes that a source names, as they go out, and what was noticed while they were looked at."""

    episodes: tuple[ExportEpisode, ...]
    warnings: tuple[str, ...] = ()


def with_labels_of(found: EpisodeSet, *, on_episode: Callable[[str], Any] = lambda _: None) -> ExportSource:
    """The episodes of `dexvla.episodes.manifest.find_set` with the labels that go out: those of a manifest before those
    of the files.

    on_episode: told the name of each that was looked at. Raises EpisodeError for a file that cannot be read or is
    another than the manifest lists.
    """
    names = episode_names(found.paths)
    episodes, warnings = [], []
    for index, (path, name) in enumerate(zip(found.paths, names, strict=True)):
        with open_episode(path) as episode:
            if found.entries is None:
                episodes.append(_as_filed(episode, name))
            else:
                entry = found.entries[index]
                episodes.append(_as_listed(episode, name, entry))
                if entry.plan:
                    warnings.append(f"{name}: its plan (a second text over the steps) has no place in an export")
        on_episode(name)
    return ExportSource(episodes=tuple(episodes), warnings=(*_left_aside(found), *warnings))


def export_episodes(
    episodes: Sequence[ExportEpisode],
    out: Path,
    format_name: str,
    *,
    on_episode: Callable[[Exported], Any] = lambda _: None,
    warnings: Sequence[str] = (),
) -> ExportReport:
    """Write all of `episodes` in one format into the folder `out`, which must be new or empty.

    warnings: what was noticed before, for the report. Raises FormatError for a format that is none, for a place that
    is taken and for an episode that cannot be written; OSError where there is no room. `out` is then as it was.
    """
    exporter = registry.exporter(format_name)
    if not episodes:
        raise FormatError("there are no episodes to export; name a source that has some")
    _check_names(episodes)
    done: list[Exported] = []

    def follow(one: Exported) -> None:
        done.append(one)
        on_episode(one)

    with _new_folder(out) as folder:
        said = exporter.export(tuple(episodes), folder, on_episode=follow)
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return ExportReport(
        format=format_name,
        out=out,
        episodes=tuple(done),
        warnings=(*warnings, *said),
        files=len(files),
        size=size,
    )


def check_out(out: Path) -> None:
    """Raise FormatError unless an export may be put there: asked before hours of work, not after them."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FormatError(f"{out}: is a file or a link, expected a new or empty folder; name another one")
    if out.is_dir() and any(out.iterdir()):
        raise FormatError(f"{out}: is not empty; an export never mixes with what is there, name a new folder")


def episode_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """A name for each file: its own without ending, safe, and unlike the others also where case does not count."""
    taken: set[str] = set()
    names = []
    for path in paths:
        plain = re.sub(r"[^\w.-]+", "_", path.stem).strip("._")[:_LONGEST_NAME] or "episode"
        if plain.casefold() in taken:  # of another folder
            folder = re.sub(r"[^\w.-]+", "_", path.parent.name).strip("._")
            plain = f"{folder}_{plain}"[:_LONGEST_NAME] if folder else plain
        name, number = plain, 2
        while name.casefold() in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


@contextmanager
def _held(out: Path) -> Iterator[Path]:
    """A hidden folder that takes the place of `out` at the end, locked while it is written: one without a lock was left
    by a process that is dead."""
    out.parent.mkdir(parents=True, exist_ok=True)
    outer = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}{_WRITTEN}")
    outer.mkdir()
    lock = os.open(outer, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: nothing is swept there either
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inner = outer / out.name
        with atomic_directory(inner) as folder:
            yield folder
        if out.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))
        inner.rename(out)
        fsync_path(out.parent)
    finally:
        shutil.rmtree(outer, ignore_errors=True)
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove what exports that were killed left half written beside their places."""
    for path in folder.glob(f".*{_WRITTEN}"):
        if path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:  # made, and not yet locked
                continue
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    check_out(out)
    if out.parent.is_dir():
        _sweep(out.parent)
    if out.exists():
        out.rmdir()
        try:
            with _held(out) as folder:
                yield folder
        except BaseException:
            out.mkdir(exist_ok=True)  # it was there, and empty
            raise
        return
    try:
        with _held(out) as folder:
            yield folder
    except FileExistsError as error:
        if not out.exists():
            raise
        raise FormatError(f"{out}: was made by somebody else meanwhile; name another folder") from error


def _check_names(episodes: Sequence[ExportEpisode]) -> None:
    names = Counter(one.name.casefold() for one in episodes)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise FormatError(f"two episodes are called {twice!r}; expected a name of its own for each")


def _as_filed(episode: Episode, name: str) -> ExportEpisode:
    labels = episode.substep_reasonings
    return ExportEpisode(
        path=episode.path,
        name=name,
        instruction=episode.instruction,
        paraphrases=tuple(getattr(episode, "paraphrases", ())),
        substeps=() if labels is None else run_length(labels),
        label_source=_label_source(episode.label_source),
        success=episode.attributes.success,
    )


def _as_listed(episode: Episode, name: str, entry: EpisodeEntry) -> ExportEpisode:
    if not episode_identities(episode).is_called(entry.identity):
        raise EpisodeError(
            f"{episode.path}: another episode than the manifest lists, its motion or images differ; put the listed "
            "file back, or name the folder instead of the manifest"
        )
    if entry.steps != episode.steps:
        raise FormatError(
            f"{episode.path}: the manifest uses {entry.steps} of its {episode.steps} steps, expected all of them; "
            "name the folder instead of the manifest to export the episode whole"
        )
    return ExportEpisode(
        path=episode.path,
        name=name,
        instruction=entry.instruction,
        paraphrases=entry.paraphrases,
        substeps=entry.substeps,
        label_source=_label_source(entry.label_source),
        success=entry.success,
    )


def _label_source(said: str | None) -> LabelSource | None:
    """A file from elsewhere may name a source that is none of ours; its labels are then imported ones."""
    if said is None:
        return None
    return LabelSource(said) if said in list(LabelSource) else LabelSource.IMPORTED


def _left_aside(found: EpisodeSet) -> tuple[str, ...]:
    """What a task or manifest says that no export keeps."""
    said = []
    if found.episode_len is not None:
        said.append(f"episodes are exported whole; episode_len {found.episode_len} of the task does not count here")
    if found.weights is not None:
        said.append("sample_weights of the task do not count here: each episode is exported once")
    return tuple(said)
