"""Images of episodes, decoded and resized once: a folder of plain arrays beside the episodes.

A file's name is the hash of everything that its pixels depend on: the episode's identity (which covers the colours'
order and the stored size), the camera, the size, the number of steps. Another episode, or one that changed, has other
files, so nothing is ever out of date; what no run uses any more may be deleted at any time. The pixels are
those that reading the episode gives, bit by bit.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.data.images import resize_bilinear
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError, UserError
from dexvla.files import atomic_file
from dexvla.spec import CameraSpec, EpisodeEntry
from dexvla.spec.data import IDENTITY_VERSION

FORMAT = 2  # to be raised whenever the pixels of the same episode would come out differently


class ImageCache:
    """A folder of resized images. `prepare` fills it, `open` reads it; many processes may share it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def path(self, entry: EpisodeEntry, camera: CameraSpec) -> Path:
        """Raises ValueError for an entry that knows no identity of today, see dexvla.episodes.manifest."""
        if not entry.content.startswith(IDENTITY_VERSION):
            raise ValueError(f"{entry.path}: {entry.identity} does not say how its images are read")
        key = f"{FORMAT}|{entry.content}|{entry.steps}|{camera.name}|{camera.height}x{camera.width}"
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / f"format-{FORMAT}" / name[:2] / f"{name}.npy"

    def prepare(
        self,
        entries: Sequence[EpisodeEntry],
        cameras: Sequence[CameraSpec],
        *,
        root: Path,
        on_episode: Callable[[int, int], Any] | None = None,
    ) -> None:
        """Write what is missing; entries' paths count from `root`.

        Raises UserError if the disk has too little room for it, EpisodeError for an image that cannot be read or an
        episode that is no longer the one that `entries` lists.
        """
        missing = [
            (entry, [camera for camera in cameras if not self.path(entry, camera).is_file()]) for entry in entries
        ]
        missing = [(entry, wanted) for entry, wanted in missing if wanted]
        self._check_room(sum(_bytes(entry, camera) for entry, wanted in missing for camera in wanted))
        for number, (entry, wanted) in enumerate(missing):
            for camera in wanted:
                self._write(entry, camera, root / entry.path)
            if on_episode is not None:
                on_episode(number + 1, len(missing))

    def open(self, entry: EpisodeEntry, camera: CameraSpec) -> NDArray[np.uint8]:
        """(steps, height, width, 3) uint8, mapped from the file: only what is looked at is read.

        Raises UserError for a file that is missing or damaged.
        """
        path = self.path(entry, camera)
        expected = (entry.steps, camera.height, camera.width, 3)
        try:
            images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: prepared images are missing or damaged ({error}); delete the file and resume, it is made anew"
            ) from error
        if images.shape != expected or images.dtype != np.uint8:
            raise UserError(
                f"{path}: holds {images.dtype} {images.shape}, expected uint8 {expected}; delete it and resume"
            )
        return images

    def _write(self, entry: EpisodeEntry, camera: CameraSpec, source: Path) -> None:
        with open_episode(source) as episode:
            if episode.steps < entry.steps:
                raise EpisodeError(
                    f"{source}: has {episode.steps} steps, {entry.steps} are listed; the file changed, start a new run"
                )
            with atomic_file(self.path(entry, camera)) as temporary, temporary.open("wb") as file:
                header = {
                    "descr": "|u1",
                    "fortran_order": False,
                    "shape": (entry.steps, camera.height, camera.width, 3),
                }
                np.lib.format.write_array_header_1_0(file, header)
                for step in range(entry.steps):
                    image = resize_bilinear(episode.frame(camera.name, step), camera.height, camera.width)
                    file.write(np.ascontiguousarray(image).data)

    def _check_room(self, needed: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UserError(
                f"{self.folder}: the prepared images take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
                "choose another folder, smaller images, or train without picture_cache"
            )


def _bytes(entry: EpisodeEntry, camera: CameraSpec) -> int:
    return entry.steps * camera.height * camera.width * 3
