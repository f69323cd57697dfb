"""DexVLA's own HDF5, as the public reference's loader reads it.

That loader resizes what it finds at observations/images/<camera>[step] before it would decode it, so it reads pixels
alone: that is `dexvla`. Loaders that decode first (act-plus-plus and those made from it) take JPEG rows as OpenCV
makes them of RGB arrays, with red and blue swapped for everybody else: that is `dexvla-jpeg`. Either keeps the entries
of our own that such loaders pass over (times, who commanded a step, attributes), so that nothing is lost on the way
back. Files are numbered: the loader leaves out some words in names, and mixes up others.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

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
        cameras, recoded = {}, []
        with ExitStack() as stack:
            for camera in going.file.cameras:
                height, width = going.file.frame_size(camera)
                frames: Callable[[], Iterator[bytes | NDArray[np.uint8]]] = partial(_pixels, going, camera)
                if self._jpeg and _opencv_order(going, camera):
                    frames = partial(_rows, going, camera)
                elif self._jpeg:
                    spool = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                    recoded.append(_Recoded(going, camera, spool))
                    frames = recoded[-1].rows
                cameras[camera] = CameraStream(
                    frames=frames, jpeg=self._jpeg, height=height, width=width, swapped=self._jpeg
                )
            self._stream(going, path, cameras)
            return loss_of([ratio for one in recoded for ratio in one.ratios()])

    def _stream(self, going: Outgoing, path: Path, cameras: dict[str, CameraStream]) -> None:
        # upstream's statistics read qvel of every file and stop where there is none
        data = replace(carried(going.labels, going.file), qvel=going.file.qvel)
        try:
            stream_episode(path, data, cameras)
        except EpisodeError as error:
            raise FormatError(f"{going.labels.path}: {error}") from error

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
    return (going.jpeg(camera, step) for step in range(going.file.steps))


class _Recoded:
    """Rows of a camera that are coded again: once, though a writer goes through them twice; in a temporary file."""

    def __init__(self, going: Outgoing, camera: str, spool: IO[bytes]) -> None:
        self._going, self._camera, self._spool = going, camera, spool
        self._ends = [0]

    def rows(self) -> Iterator[bytes]:
        for step in range(self._going.file.steps):
            yield self._row(step)

    def ratios(self) -> list[float]:
        """Signal to noise of evenly spread frames, dB."""
        steps = self._going.file.steps
        chosen = np.unique(np.linspace(0, steps - 1, min(_COMPARED, steps)).astype(int)).tolist()
        frame = partial(self._going.file.frame, self._camera)
        return [psnr(frame(step), decode_jpeg(self._row(step), swapped=True)) for step in chosen]

    def _row(self, step: int) -> bytes:
        while len(self._ends) <= step + 1:
            image = self._going.file.frame(self._camera, len(self._ends) - 1)
            self._spool.seek(self._ends[-1])
            row = encode_jpeg(image[..., ::-1], quality=_QUALITY, full_colour=True)
            self._spool.write(row)
            self._ends.append(self._ends[-1] + len(row))
        self._spool.seek(self._ends[step])
        return self._spool.read(self._ends[step + 1] - self._ends[step])


PIXELS = UpstreamExporter("dexvla", "DexVLA's HDF5 with pixels, for its unchanged loader", jpeg=False)
JPEG = UpstreamExporter("dexvla-jpeg", "DexVLA's HDF5 with JPEG rows, for loaders that decode first", jpeg=True)
