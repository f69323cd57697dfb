"""Who an episode is: the hash of its motion and pictures, which never change. Labels are not part of it."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.reader import Episode


def episode_identity(episode: Episode, *, on_row: Callable[[str, int, bytes], Any] | None = None) -> str:
    """sha256 (hex) over dimensions, action, state, time and the stored pictures, camera by camera in sorted order.

    JPEG rows count without their zero padding, so re-padding a file does not make it another episode.
    This reads every picture once: on_row(camera, step, bytes) is given each JPEG row, without its padding.
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
    add("timestamp", episode.timestamp)
    for camera in episode.cameras:
        digest.update(f"camera:{camera}:{episode.compressed};".encode())
        for step in range(episode.steps):
            stored = episode.stored_frame(camera, step)
            data = stored.tobytes()
            if episode.compressed:
                data = data.rstrip(b"\0")
                if on_row is not None:
                    on_row(camera, step, data)
            digest.update(data)
    return digest.hexdigest()
