"""Write one episode file: checked first, then written beside its place and renamed, so no half file ever stays."""

import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import (
    IMAGE_TIMES,
    IMAGES,
    JPEG_CHANNELS,
    MARKS,
    STEP_SOURCE,
    EpisodeData,
    LabelSource,
    StepSource,
)
from dexvla.errors import EpisodeError, EpisodeExistsError
from dexvla.files import atomic_file


def write_episode(path: str | os.PathLike[str], data: EpisodeData) -> None:
    """Write `data` as an episode file in the layout of `dexvla.episodes.format`.

    Raises EpisodeExistsError rather than overwrite a file, also one that another recorder writes meanwhile,
    EpisodeError for data that does not fit together (lengths, shapes, NaN, mixed image kinds) and OSError
    when the disk is full or the folder cannot be written; in either case nothing stays behind.
    """
    path = Path(path)
    taken = f"{path} exists already; episodes are never overwritten"
    if path.exists():
        raise EpisodeExistsError(taken)
    validate(data)
    # HDF5 builds the file in memory, we put it on the disk: HDF5 itself survives a full disk badly, its objects can no
    # longer be closed and the process crashes on its way out.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write_steps(file, data)
        _write_images(file, data.images)
    try:
        with atomic_file(path, overwrite=False) as temporary:
            temporary.write_bytes(content.getbuffer())
    except FileExistsError as error:
        if not path.exists():  # it is the folder's place that is taken
            raise
        raise EpisodeExistsError(taken) from error


def validate(data: EpisodeData) -> int:
    """Raise EpisodeError unless all parts of `data` fit together; returns the number of steps T."""
    steps = validate_steps(data)
    if not data.images:
        raise EpisodeError("an episode needs at least one camera")
    for name, frames in data.images.items():
        if len(frames) != steps:
            raise EpisodeError(f"camera {name} has {len(frames)} frames for {steps} steps")
    if len({isinstance(frames, np.ndarray) for frames in data.images.values()}) != 1:
        raise EpisodeError("all cameras must be JPEG rows, or all arrays, not a mix")
    return steps


def validate_steps(data: EpisodeData) -> int:
    """Raise EpisodeError unless all parts of `data` but its images fit together; returns the number of steps T."""
    if data.action.ndim != 2 or not data.action.size:
        raise EpisodeError(f"action has shape {data.action.shape}, expected (steps, dimensions) with at least one step")
    steps = int(data.action.shape[0])
    motion = {
        "action": data.action,
        "qpos": data.qpos,
        "qvel": data.qvel,
        "joint_positions": data.joint_positions,
        "action_sent": data.action_sent,
    }
    for name, array in motion.items():
        if array is None:
            continue
        if array.ndim != 2 or array.shape[0] != steps:
            raise EpisodeError(f"{name} has shape {array.shape}, expected ({steps}, dimensions)")
        if not np.isfinite(array).all():
            row = int(np.nonzero(~np.isfinite(array).all(axis=1))[0][0])
            raise EpisodeError(f"{name} holds a value that is not finite, first at step {row}")
        if np.abs(array).max(initial=0) > np.finfo(np.float32).max:
            raise EpisodeError(f"{name} holds values that do not fit float32")
    if data.qpos.shape != data.qvel.shape:
        raise EpisodeError(f"qpos has shape {data.qpos.shape}, qvel {data.qvel.shape}; they must be equal")
    if data.action_sent is not None and data.action_sent.shape != data.action.shape:
        raise EpisodeError(f"action_sent has shape {data.action_sent.shape}, action {data.action.shape}")
    if not data.instruction.strip():
        raise EpisodeError("the instruction is empty")
    if data.substep_reasonings is not None and len(data.substep_reasonings) != steps:
        raise EpisodeError(f"{len(data.substep_reasonings)} substep reasonings for {steps} steps")
    if data.step_source is not None and len(data.step_source) != steps:
        raise EpisodeError(f"{len(data.step_source)} step sources for {steps} steps")
    if data.marks is not None and list(data.marks) != sorted({mark for mark in data.marks if 0 <= mark < steps}):
        raise EpisodeError(f"marks are {list(data.marks)[:5]} ..., expected rising steps from 0 to {steps - 1}")
    times = {"timestamp": data.timestamp, "host_timestamp": data.host_timestamp}
    times |= {f"{IMAGE_TIMES}/{k}": v for k, v in (data.image_timestamp or {}).items()}
    for name, time in times.items():
        if time is not None and time.shape != (steps,):
            raise EpisodeError(f"{name} has shape {time.shape}, expected ({steps},)")
    return steps


def write_steps(file: h5py.File, data: EpisodeData) -> None:
    """Everything but the images."""
    for name, value in dataclasses.asdict(data.attributes).items():
        if value is not None:
            file.attrs[name] = value
    for name, value in data.extra_attributes.items():
        file.attrs[name] = value
    file.create_dataset("action", data=np.asarray(data.action, np.float32))
    file.create_dataset("observations/qpos", data=np.asarray(data.qpos, np.float32))
    file.create_dataset("observations/qvel", data=np.asarray(data.qvel, np.float32))
    if data.joint_positions is not None:
        file.create_dataset("observations/joint_positions", data=np.asarray(data.joint_positions, np.float32))
    if data.action_sent is not None:
        file.create_dataset("action_sent", data=np.asarray(data.action_sent, np.float32))
    write_texts(file, data.instruction, data.substep_reasonings, data.label_source, paraphrases=data.paraphrases)
    if data.timestamp is not None:
        file.create_dataset("timestamp", data=np.asarray(data.timestamp, np.float64))
    if data.host_timestamp is not None:
        file.create_dataset("host_timestamp", data=np.asarray(data.host_timestamp, np.float64))
    if data.step_source is not None:
        write_step_source(file, data.step_source)
    if data.marks is not None:
        write_marks(file, data.marks)
    for camera, time in (data.image_timestamp or {}).items():
        file.create_dataset(f"{IMAGE_TIMES}/{camera}", data=np.asarray(time, np.float64))


def _write_images(file: h5py.File, images: Mapping[str, Sequence[bytes] | NDArray[np.uint8]]) -> None:
    lengths: list[list[int]] = []
    for camera in sorted(images):
        frames = images[camera]
        if isinstance(frames, np.ndarray):
            if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
                raise EpisodeError(
                    f"camera {camera}: frames are {frames.dtype} {frames.shape}, expected uint8 (T,H,W,3)"
                )
            file.create_dataset(f"{IMAGES}/{camera}", data=frames, chunks=(1, *frames.shape[1:]))
        else:
            lengths.append([len(frame) for frame in frames])
            _write_rows(file, f"{IMAGES}/{camera}", frames)
    file.attrs["compress"] = bool(lengths)
    if lengths:
        file.attrs[JPEG_CHANNELS] = "rgb"
        file.create_dataset("compress_len", data=np.asarray(lengths, np.float32))


def write_texts(
    file: h5py.File,
    instruction: str,
    substeps: Sequence[str] | None,
    source: LabelSource | None,
    *,
    paraphrases: Sequence[str] = (),
) -> None:
    """The instruction, its other wordings and, where there are any, substep reasonings (one a step) with where they
    come from."""
    text = h5py.string_dtype("utf-8")
    file.create_dataset("language_raw", data=np.array([instruction, *paraphrases], dtype=object), dtype=text)
    if substeps is not None:
        labels = file.create_dataset("substep_reasonings", data=np.array(list(substeps), dtype=object), dtype=text)
        if source is not None:
            labels.attrs["label_source"] = source.value


def write_step_source(file: h5py.File, sources: Sequence[StepSource]) -> None:
    names = list(StepSource)
    dataset = file.create_dataset(STEP_SOURCE, data=np.array([names.index(source) for source in sources], np.uint8))
    dataset.attrs["names"] = [str(name) for name in names]


def write_marks(file: h5py.File, marks: Sequence[int]) -> None:
    file.create_dataset(MARKS, data=np.asarray(list(marks), np.int64))


def _write_rows(file: h5py.File, name: str, frames: Sequence[bytes]) -> None:
    """T byte strings -> (T, P) uint8, each row padded with zeros to the longest. Row by row, so that an image that
    repeats is in memory once, and as whole chunks, which HDF5 takes without looking at them."""
    longest = max(len(frame) for frame in frames)
    rows = file.create_dataset(name, shape=(len(frames), longest), dtype=np.uint8, chunks=(1, longest))
    for step, frame in enumerate(frames):
        rows.id.write_direct_chunk((step, 0), frame.ljust(longest, b"\0"))
