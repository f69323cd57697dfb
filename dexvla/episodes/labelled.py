"""An episode file as it leaves the studio: with the labels that people gave it. The file itself never changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from dexvla.episodes.format import LabelSource
from dexvla.episodes.manifest import per_step
from dexvla.episodes.overlay import Overlay, Stretch
from dexvla.episodes.writer import write_texts
from dexvla.errors import EpisodeError
from dexvla.spec import Segment


@dataclass(frozen=True, kw_only=True)
class EpisodeLabels:
    """What is said about an episode: instruction, outcome, and its substeps without gap over all its steps.

    success None: nobody says; the file then does not say it either. substeps empty: not labelled.
    """

    instruction: str
    success: bool | None
    substeps: tuple[Segment, ...]
    source: LabelSource | None
    paraphrases: tuple[str, ...] = ()


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


def _replace(path: Path, file: h5py.File, labels: EpisodeLabels, texts: Sequence[str] | None) -> None:
    steps = file["action"].shape[0]
    if texts is not None and steps != len(texts):
        raise EpisodeError(
            f"{path}: it has {steps} steps, its labels are of {len(texts)}: it holds another episode than when it was "
            "taken in; restore it from a backup"
        )
    for name in ("language_raw", "substep_reasonings", "reasoning"):
        if name in file:
            del file[name]
    if labels.success is not None:
        file.attrs["success"] = labels.success
    elif "success" in file.attrs:
        del file.attrs["success"]
    write_texts(file, labels.instruction, texts, labels.source, paraphrases=labels.paraphrases)
