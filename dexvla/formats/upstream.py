"""DexVLA's own HDF5, as the public reference's loader reads it.

That loader resizes what it finds at observations/images/<camera>[step] before it would decode it, so it reads pixels
alone: that is `dexvla`. Loaders that decode first (act-plus-plus and those made from it) take JPEG rows as OpenCV
makes them of RGB arrays, with red and blue swapped for everybody else: that is `dexvla-jpeg`. Either keeps the entries
of our own that such loaders pass over (times, who commanded a step, attributes), so that nothing is lost on the way
back. Files are numbered: the loader leaves out some words in names, and mixes up others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg
from dexvla.episodes.streaming import CameraStream, stream_episode
from dexvla.errors import EpisodeError
from dexvla.formats.base import Exported, ExportEpisode, FormatError
from dexvla.formats.carried import carried
from dexvla.formats.outgoing import Outgoing, loss_of, outgoing, psnr

_QUALITY = 98  # of rows that are coded again: what a first coding left is to stay
_COMPARED = 12  # frames a camera
_NOT_DECODED = "truncate"  # in a path: upstream's loader takes its files for JPEG rows that it need not decode


class UpstreamExporter:
    """episode_N.hdf5 each. jpeg: rows of JPEG instead of pixels."""

    def __init__(self, name: str, title: str, *, jpeg: bool) -> None:
        self.name, self.title, self._jpeg = name, title, jpeg

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        for number, episode in enumerate(episodes):
            file = f"episode_{number}.hdf5"
            with outgoing(episode) as going:
                loss = self._write(going, out / file)
                has_velocities = going.file.has_qvel
            unlabelled = "has no substeps: upstream's training with reasoning ends at it; label it or leave it out"
            resting = "has no velocities: zeros are written, upstream reads them of every file"
            on_episode(
                Exported(
                    name=episode.name,
                    files=(file,),
                    warnings=(*(() if episode.substeps else (unlabelled,)), *(() if has_velocities else (resting,))),
                    loss_db=loss,
                )
            )
        return tuple(self._warnings(len(episodes), out))

    def _write(self, going: Outgoing, path: Path) -> float | None:
        ratios: list[float] = []
        cameras = {}
        for camera in going.file.cameras:
            height, width = going.file.frame_size(camera)
            frames = partial(_pixels, going, camera)
            if self._jpeg:
                frames = partial(_rows, going, camera)
                ratios += _ratios(going, camera)
            cameras[camera] = CameraStream(
                frames=frames, jpeg=self._jpeg, height=height, width=width, swapped=self._jpeg
            )
        # upstream's statistics read qvel of every file and stop where there is none
        data = replace(carried(going.labels, going.file), qvel=going.file.qvel)
        try:
            stream_episode(path, data, cameras)
        except EpisodeError as error:
            raise FormatError(f"{going.labels.path}: {error}") from error
        return loss_of(ratios)

    def _warnings(self, episodes: int, out: Path) -> Iterator[str]:
        if self._jpeg:
            yield (
                "JPEG rows are for loaders that decode before they resize; DexVLA's unchanged loader resizes first and "
                "fails, export dexvla for it"
            )
        if episodes == 1:
            yield "upstream's training keeps one episode for a validation set and stops where there is no other one"
        if _NOT_DECODED in str(out):
            yield f"a path with {_NOT_DECODED!r} in it makes upstream's loader skip decoding: move the folder"


def _opencv_order(going: Outgoing, camera: str) -> bool:
    """Whether the stored frames are JPEG rows in the order that OpenCV expects: they go out as they are."""
    return going.file.is_jpeg(camera) and going.file.is_swapped(camera)


def _pixels(going: Outgoing, camera: str) -> Iterator[bytes | NDArray[np.uint8]]:
    return (going.file.frame(camera, step) for step in range(going.file.steps))


def _rows(going: Outgoing, camera: str) -> Iterator[bytes | NDArray[np.uint8]]:
    if _opencv_order(going, camera):
        return (going.jpeg(camera, step) for step in range(going.file.steps))
    return (_row(going.file.frame(camera, step)) for step in range(going.file.steps))


def _row(image: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(image[..., ::-1], quality=_QUALITY, full_colour=True)


def _ratios(going: Outgoing, camera: str) -> list[float]:
    """Signal to noise of evenly spread frames that are coded again, dB; nothing where rows go out as they are."""
    if _opencv_order(going, camera):
        return []
    steps = np.unique(np.linspace(0, going.file.steps - 1, min(_COMPARED, going.file.steps)).astype(int))
    images = [going.file.frame(camera, int(step)) for step in steps]
    return [psnr(image, decode_jpeg(_row(image), swapped=True)) for image in images]


PIXELS = UpstreamExporter("dexvla", "DexVLA's HDF5 with pixels, for its unchanged loader", jpeg=False)
JPEG = UpstreamExporter("dexvla-jpeg", "DexVLA's HDF5 with JPEG rows, for loaders that decode first", jpeg=True)
