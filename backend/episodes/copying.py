"""Episode files from known parts only: a fresh copy of a foreign file, and a copy with new labels.

Datasets are copied as stored (no picture is decoded), so the identity, a hash of motion and pictures, stays.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from dexvla.episodes.format import IMAGE_TIMES, JPEG_CHANNELS, LabelSource
from dexvla.episodes.reader import Episode, open_episode
from dexvla.errors import EpisodeError

_MOTION = (
    "action",
    "action_sent",
    "compress_len",
    "observations/qpos",
    "observations/qvel",
    "observations/joint_positions",
    "timestamp",
)


def fresh_copy(source: Path, target: Path, *, keep_labels: bool) -> None:
    """Write `target` from the parts of `source` that an episode has; whatever else the file held stays behind.

    Raises EpisodeError for what is no episode. Runs in the sandbox: a full disk may end the process.
    """
    with open_episode(source) as episode, h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        names = [name for name in _MOTION if name in old]
        names += [f"observations/images/{camera}" for camera in episode.cameras]
        names += [f"{IMAGE_TIMES}/{camera}" for camera in episode.cameras if f"{IMAGE_TIMES}/{camera}" in old]
        for name in names:
            _refuse_foreign(episode, old[name], name)
            new.require_group(name.rpartition("/")[0] or "/")
            old.copy(old[name], new, name=name, without_attrs=True)
        for name, value in dataclasses.asdict(episode.attributes).items():
            if value is not None:
                new.attrs[name] = value
        new.attrs["compress"] = episode.compressed
        if episode.compressed and episode.rgb_jpeg:
            new.attrs[JPEG_CHANNELS] = "rgb"
        labels = episode.substep_reasonings if keep_labels else None
        _write_texts(new, episode.instruction, labels, _label_source(episode.label_source))


def labelled_copy(
    source: Path, target: Path, *, instruction: str, labels: Sequence[str], source_of_labels: LabelSource
) -> None:
    """Write `target` as `source` with another instruction and other substep reasonings (one a step)."""
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        for name in ("language_raw", "substep_reasonings", "reasoning"):
            if name in file:
                del file[name]
        _write_texts(file, instruction, labels, source_of_labels)


def _write_texts(file: h5py.File, instruction: str, labels: Sequence[str] | None, source: LabelSource) -> None:
    text = h5py.string_dtype("utf-8")
    file.create_dataset("language_raw", data=np.array([instruction], dtype=object), dtype=text)
    if labels is not None:
        dataset = file.create_dataset("substep_reasonings", data=np.array(list(labels), dtype=object), dtype=text)
        dataset.attrs["label_source"] = source.value


def _label_source(word: str | None) -> LabelSource:
    """What the file says, where it is a word that we know."""
    known = {member.value: member for member in LabelSource}
    return known.get(word or "", LabelSource.IMPORTED)


def _refuse_foreign(episode: Episode, dataset: object, name: str) -> None:
    """Once more, on the handle that is copied: nothing that HDF5 would fetch from outside the file."""
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise EpisodeError(f"{episode.path}: {name} is not plain data of this file; refused")
