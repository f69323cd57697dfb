"""An episode file as it leaves the studio: with the labels that people gave it. The file itself never changes."""

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from dexvla.episodes.entries import Entries
from dexvla.episodes.format import LabelSource
from dexvla.episodes.overlay import Overlay, Stretch
from dexvla.episodes.segments import per_step
from dexvla.episodes.wordings import wordings_of
from dexvla.episodes.writer import write_texts
from dexvla.errors import EpisodeError
from dexvla.spec import Segment

_REPLACED = ("language_raw", "substep_reasonings", "reasoning")
_SPARE_BYTES = 16 * 2**20  # left free on the disk: HDF5 survives a full one badly


@dataclass(frozen=True, kw_only=True)
class EpisodeLabels:
    """What is said about an episode: instruction, outcome, and its substeps without gap over all its steps.

    success None: nobody says; the file then does not say it either. substeps empty: not labelled. paraphrases None:
    those that the file has.
    """

    instruction: str
    success: bool | None
    substeps: tuple[Segment, ...]
    source: LabelSource | None
    paraphrases: tuple[str, ...] | None = None


def with_labels(path: Path, labels: EpisodeLabels) -> list[Stretch]:
    """The bytes of the episode file at `path` with `language_raw`, `success` and `substep_reasonings` as `labels` say.

    Nothing is written: what differs from the file is in memory (tens of bytes a step), the rest are places in the
    file. The same labels over the same file always give the same bytes. Motion and frames stay as they are stored, so
    the identity does too. Raises FileNotFoundError, and EpisodeError for a file that cannot be read or has another
    number of steps.
    """
    texts = per_step(labels.substeps) if labels.substeps else None
    with path.open("rb") as plain:
        overlay = Overlay(plain)
        try:
            with h5py.File(overlay, "r+") as file:
                _replace(path, file, labels, texts)
        except EpisodeError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise EpisodeError(f"{path}: cannot be read as HDF5 ({error}); restore it from a backup") from error
        return list(overlay.stretches())


def write_labelled(path: Path, target: Path, labels: EpisodeLabels) -> None:
    """The same as a new file at `target`, which must not exist: without what the old labels took, which in the bytes of
    `with_labels` lies unused. Datasets are copied as they are stored.

    Raises EpisodeError as `with_labels`, and OSError where there is no room.
    """
    texts = per_step(labels.substeps) if labels.substeps else None
    if shutil.disk_usage(target.parent).free < path.stat().st_size + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    most = 2 * path.stat().st_size + 2**20
    try:
        with h5py.File(path, "r") as old, h5py.File(target, "x") as new:
            for name, value in old.attrs.items():
                new.attrs[name] = value
            for name in old:
                link = old.get(name, getlink=True)
                if isinstance(link, h5py.SoftLink):
                    new[name] = h5py.SoftLink(link.path)
                elif isinstance(link, h5py.HardLink) and name not in _REPLACED:
                    old.copy(name, new, name)
                    if new.id.get_filesize() > most:
                        raise EpisodeError(
                            f"{path}: holds the same data under several names, {name} among them; leave it out"
                        )
            _say(path, new, labels, texts, paraphrases=_paraphrases(path, old, labels))
    except EpisodeError:
        raise
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise EpisodeError(f"{path}: cannot be copied as HDF5 ({error}); restore it from a backup") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise EpisodeError(f"{path}: cannot be read as HDF5 ({error}); restore it from a backup") from error


def _replace(path: Path, file: h5py.File, labels: EpisodeLabels, texts: Sequence[str] | None) -> None:
    paraphrases = _paraphrases(path, file, labels)
    for name in _REPLACED:
        if name in file:
            del file[name]
    _say(path, file, labels, texts, paraphrases=paraphrases)


def _paraphrases(path: Path, file: h5py.File, labels: EpisodeLabels) -> tuple[str, ...]:
    if labels.paraphrases is not None:
        return labels.paraphrases
    return tuple(text for text in wordings_of(Entries(path, file)).texts[1:] if text != labels.instruction)


def _say(
    path: Path, file: h5py.File, labels: EpisodeLabels, texts: Sequence[str] | None, *, paraphrases: Sequence[str]
) -> None:
    """Write them into a file that has none any more."""
    steps = file["action"].shape[0]
    if texts is not None and steps != len(texts):
        raise EpisodeError(
            f"{path}: it has {steps} steps, its labels are of {len(texts)}: it holds another episode than when it was "
            "taken in; restore it from a backup"
        )
    if labels.success is not None:
        file.attrs["success"] = labels.success
    elif "success" in file.attrs:
        del file.attrs["success"]
    write_texts(file, labels.instruction, texts, labels.source, paraphrases=paraphrases)
