"""Episode files from known parts only: a fresh copy of a foreign file.

Pictures are copied as stored (none is decoded), so the identity, a hash of motion and pictures, stays.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dexvla.episodes import bounds
from dexvla.episodes.format import IMAGE_TIMES, IMAGES, JPEG_CHANNELS, SCENE_ATTRIBUTES, LabelSource
from dexvla.episodes.identity import Identity, episode_identities
from dexvla.episodes.lineage import lineage_attributes
from dexvla.episodes.reader import Episode
from dexvla.episodes.writer import write_marks, write_step_source, write_texts
from dexvla.errors import EpisodeError

_MAX_CHUNK = 2**26  # bytes that HDF5 unpacks to give one value out of a chunk


def refuse_wasteful(path: Path) -> None:
    """Raise EpisodeError for a dataset of which any part costs more memory to read than a picture could need."""
    try:
        with h5py.File(path, "r") as file:
            bounds.walk(path, file, lambda name, dataset: bounds.check_chunks(path, name, dataset, _MAX_CHUNK))
    except EpisodeError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError):
        return  # not HDF5, or damaged: opening it as an episode says so


def fresh_copy(
    episode: Episode,
    target: Path,
    *,
    keep_labels: bool,
    instruction: str | None = None,
    leave_out: Collection[str] = (),
) -> Identity:
    """Write `target` from the parts that an episode has; whatever else its file held stays behind.

    JPEG rows come out padded to the longest only, and all pictures with one step a chunk; pictures that are neither
    JPEG nor plain pixels become pixels. Times are written as seconds. instruction: for a file without one of its own.
    leave_out: names of attributes. Returns the identity that the copy has to have. Raises EpisodeError for what is no
    episode, OSError for a full disk, after which HDF5 may end the process on its way out: run it in the sandbox.
    """
    with h5py.File(target, "w") as new:
        motion = {
            "action": episode.action,
            "action_sent": episode.action_sent,
            "observations/qpos": episode.qpos,
            # a file without velocities keeps having none: upstream's readers tell the difference
            "observations/qvel": episode.qvel if episode.has_qvel else None,
            "observations/joint_positions": episode.joint_positions,
            "timestamp": episode.timestamp,
            "host_timestamp": episode.host_timestamp,
            **{f"{IMAGE_TIMES}/{camera}": episode.image_timestamp(camera) for camera in episode.cameras},
        }
        for name, values in motion.items():
            if values is not None:
                new.create_dataset(name, data=values)
        if episode.step_source is not None:
            write_step_source(new, episode.step_source)
        if episode.marks is not None:
            write_marks(new, episode.marks)
        rows: dict[str, list[int]] = {camera: [] for camera in episode.cameras}
        identity = episode_identities(
            episode, seconds=True, on_row=lambda camera, step, data: rows[camera].append(len(data))
        )
        lengths = [_copy_pictures(episode, new, camera, rows[camera]) for camera in episode.cameras]
        facts = dataclasses.asdict(episode.attributes) | episode.scene_attributes | episode.recovery_attributes
        facts |= lineage_attributes(episode.lineage, episode.dimension_names)
        if episode.scene_attributes:
            new.attrs[SCENE_ATTRIBUTES] = ", ".join(episode.scene_attributes)
        for name, value in facts.items():
            if value is not None and name not in leave_out:
                new.attrs[name] = value
        new.attrs["compress"] = episode.compressed
        if episode.compressed:
            new.create_dataset("compress_len", data=np.asarray(lengths, np.float32))
            _write_colours(episode, new)
        labels = episode.substep_reasonings if keep_labels else None
        text = instruction if instruction and not episode.wordings.texts else episode.instruction
        write_texts(new, text, labels, _label_source(episode.label_source), paraphrases=episode.paraphrases)
    return identity


def _write_colours(episode: Episode, new: h5py.File) -> None:
    """Which order the colours of JPEG rows have: for the file, and for a camera that differs."""
    swapped = {camera: episode.is_swapped(camera) for camera in episode.cameras if episode.is_jpeg(camera)}
    if not all(swapped.values()):
        new.attrs[JPEG_CHANNELS] = "rgb"
        for camera in (camera for camera, turned in swapped.items() if turned):
            new[f"{IMAGES}/{camera}"].attrs[JPEG_CHANNELS] = "bgr"


# With a filter each picture is unpacked and packed again: how the file cut them does not stay. What was PNG is packed
# about as tightly as it was.
_PACKINGS: dict[str | None, dict[str, Any]] = {None: {}, "png": {"compression": "gzip", "compression_opts": 1}}


def _copy_pictures(episode: Episode, new: h5py.File, camera: str, lengths: list[int]) -> list[int]:
    """lengths: bytes of each JPEG row without its padding, as its identity counts them; returned, for pixels zeros."""
    name = f"{IMAGES}/{camera}"
    if not episode.is_jpeg(camera):
        packing = _PACKINGS.get(episode.packing(camera), {"compression": "lzf"})
        shape = (*episode.frame_size(camera), 3)
        pixels = new.create_dataset(name, (episode.steps, *shape), np.uint8, chunks=(1, *shape), **packing)
        for step in range(episode.steps):
            pixels[step] = episode.stored_frame(camera, step)
        return [0] * episode.steps
    width = max(lengths)
    rows = new.create_dataset(name, shape=(episode.steps, width), dtype=np.uint8, chunks=(1, width))
    for step in range(episode.steps):  # each a chunk as it is: HDF5 need not select, convert and copy it
        rows.id.write_direct_chunk((step, 0), episode.stored_frame(camera, step)[:width].tobytes().ljust(width, b"\0"))
    return lengths


def _label_source(word: str | None) -> LabelSource:
    """What the file says, where it is a word that we know."""
    known = {member.value: member for member in LabelSource}
    return known.get(word or "", LabelSource.IMPORTED)
