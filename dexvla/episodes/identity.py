"""Who an episode is: the hash of its motion and of what is seen in it, which never change. Labels are not part of it.

An identity of today starts with `v2` and goes on with 62 hexadecimal digits. Those of before have 64 digits: they
hashed the stored bytes alone, so that JPEG rows read as RGB and the same rows read in OpenCV's order, or the same
pixels in another height and width, were one episode. An episode of today knows its former identity too: what was
listed under it is still found.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.reader import Episode
from dexvla.spec.data import IDENTITY_VERSION


@dataclass(frozen=True, kw_only=True)
class Identity:
    """value: today's identity. former: what it was before colour order, size and lengths counted."""

    value: str
    former: str

    def is_called(self, identity: str) -> bool:
        """Whether `identity`, of whichever version, may be this episode's."""
        return identity in (self.value, self.former)


def episode_identity(episode: Episode, *, on_row: Callable[[str, int, bytes], Any] | None = None) -> str:
    """Today's identity alone; see `episode_identities`."""
    return episode_identities(episode, on_row=on_row).value


def episode_identities(
    episode: Episode,
    *,
    on_row: Callable[[str, int, bytes], Any] | None = None,
    seconds: bool = False,
) -> Identity:
    """Hashes of dimensions, action, state, time and the stored images, camera by camera in sorted order.

    Today's also covers how the images are read: the order of the colours, the pixels' height and width, where each
    JPEG row ends. JPEG rows count without their zero padding, so re-padding a file does not make it another episode.
    This reads every image once: on_row(camera, step, bytes) is given each JPEG row, without its padding. Time counts as
    it is stored, also where it is read otherwise (dexvla.episodes.times); seconds: as it is read, which is what a copy
    of the episode stores.
    """
    digest = hashlib.sha256()

    def add(name: str, array: NDArray[Any] | None) -> None:
        if array is not None:
            array = np.ascontiguousarray(array)
            digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
            digest.update(array.tobytes())

    digest.update(f"sim:{episode.sim};".encode())
    add("action", episode.action)
    add("qpos", episode.qpos)
    add("qvel", episode.qvel)
    add("joint_positions", episode.joint_positions)
    add("timestamp", _as_float64(episode.timestamp if seconds else episode.stored_timestamp))
    lengths: dict[str, NDArray[np.int64]] = {}
    for camera in episode.cameras:
        jpeg = episode.is_jpeg(camera)
        digest.update(f"camera:{camera}:{jpeg};".encode())
        lengths[camera] = np.zeros(episode.steps if jpeg else 0, np.int64)
        for step, data in _rows(episode, camera):
            if jpeg:
                lengths[camera][step] = len(data)
                if on_row is not None:
                    on_row(camera, step, data)
            digest.update(data)
    former = digest.hexdigest()
    return Identity(value=_with_reading(episode, former, lengths), former=former)


def _as_float64(stamps: NDArray[Any] | None) -> NDArray[np.float64] | None:
    return None if stamps is None else np.asarray(stamps, np.float64)


def renewed_identity(episode: Episode, former: str, *, trust_lengths: bool) -> str:
    """Today's identity of an episode whose former one is known, without hashing its images again.

    trust_lengths: the file was written by `dexvla.episodes.writer` or the studio's intake, so that `compress_len` says
    where each JPEG row ends; otherwise, and where it does not fit, the rows are read.
    """
    lengths = episode.row_lengths() if trust_lengths else None
    if lengths is None:
        lengths = {
            camera: np.fromiter((len(data) for _, data in _rows(episode, camera)), np.int64)
            if episode.is_jpeg(camera)
            else np.zeros(0, np.int64)
            for camera in episode.cameras
        }
    return _with_reading(episode, former, lengths)


def _rows(episode: Episode, camera: str) -> Iterator[tuple[int, bytes]]:
    jpeg = episode.is_jpeg(camera)
    for step in range(episode.steps):
        data = episode.stored_frame(camera, step).tobytes()
        yield step, data.rstrip(b"\0") if jpeg else data


def _with_reading(episode: Episode, former: str, lengths: Mapping[str, NDArray[np.int64]]) -> str:
    """The former identity and everything that decides which pixels its bytes become."""
    digest = hashlib.sha256(f"dexvla episode 2;{former};".encode())
    for camera in episode.cameras:
        if episode.is_jpeg(camera):
            reading: list[Any] = ["jpeg", "bgr" if episode.is_swapped(camera) else "rgb"]
        else:
            reading = ["pixels", *episode.frame_size(camera)]
        digest.update(json.dumps([camera, *reading]).encode())
        digest.update(lengths[camera].astype("<i8").tobytes())
    return IDENTITY_VERSION + digest.hexdigest()[len(IDENTITY_VERSION) :]
