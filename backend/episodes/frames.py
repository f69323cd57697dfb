"""Frames of an episode as a browser can show them: JPEG with red where red belongs."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dexvla.episodes.jpeg import decode_reduced, encode_jpeg
from dexvla.episodes.reader import Episode, open_episode

_QUALITY = 90
_PROXY_QUALITY = 80
_THUMBNAIL_HEIGHT = 144
_PACK_BYTES = 2**27  # about; a hundred steps of four full HD cameras
# A browser turns an image as its Exif says, decoders for training do not: it is shown as those see it.
_EXIF, _EXIF_WITHIN = b"Exif\0\0", 4096


def jpeg(episode: Episode, camera: str, step: int, *, height: int | None = None) -> bytes:
    """The exact frame, as stored where it is an ordinary JPEG, otherwise encoded anew; height: at most so many rows.

    Raises EpisodeError for a camera that is not there or a frame that cannot be read.
    """
    if height is not None and episode.frame_size(camera)[0] > height:
        return _smaller(episode, camera, step, height)
    if episode.is_jpeg(camera) and not episode.is_swapped(camera):
        stored = episode.stored_frame(camera, step).tobytes().rstrip(b"\0")
        if _EXIF not in stored[:_EXIF_WITHIN]:
            return stored
    return encode_jpeg(episode.frame(camera, step), quality=_QUALITY)


def _smaller(episode: Episode, camera: str, step: int, height: int) -> bytes:
    rows, columns = episode.frame_size(camera)
    width = max(1, round(columns * height / rows))
    if episode.is_jpeg(camera) and not episode.is_swapped(camera):
        image = decode_reduced(episode.stored_frame(camera, step).tobytes(), height, width)
    else:
        image = episode.frame(camera, step)
    if image.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    return encode_jpeg(image, quality=_PROXY_QUALITY)


@dataclass(frozen=True, kw_only=True)
class PackQuery:
    """Steps start, start + stride, ... of an episode; height: at most so many rows a frame."""

    start: int
    count: int
    stride: int = 1
    height: int | None = None


def pack(path: Path, query: PackQuery) -> bytes:
    """Frames of all cameras; the layout is that of the endpoint's description.

    Past the end there are fewer steps, and where frames are so large that a pack would be.
    """
    with open_episode(path) as episode:
        end = min(query.start + query.count * query.stride, episode.steps)
        jpegs: list[list[bytes]] = []
        size = 0
        for step in range(query.start, end, query.stride):
            jpegs.append([jpeg(episode, camera, step, height=query.height) for camera in episode.cameras])
            size += sum(map(len, jpegs[-1]))
            if size > _PACK_BYTES:
                break
        header = {
            "start": query.start,
            "stride": query.stride,
            "count": len(jpegs),
            "cameras": list(episode.cameras),
            "sizes": [[len(each) for each in row] for row in jpegs],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(each for row in jpegs for each in row)])


def thumbnail(path: Path) -> bytes:
    """A small image of the first camera from the middle of the episode."""
    with open_episode(path) as episode:
        return jpeg(episode, episode.cameras[0], episode.steps // 2, height=_THUMBNAIL_HEIGHT)


def motion(path: Path) -> bytes:
    """JSON of backend.episodes.schemas.Motion, rounded for a plot."""
    with open_episode(path) as episode:
        columns = {"action": episode.action, "qpos": episode.qpos}
        # in float64, because the nearest float32 to 0.1234 is written with sixteen digits
        rounded = {name: values.astype(np.float64).round(4).tolist() for name, values in columns.items()}
        return json.dumps({"steps": episode.steps, **rounded}, separators=(",", ":")).encode()


def motion_columns(path: Path) -> bytes:
    """Little-endian: uint32 steps, dimensions of the actions and of qpos, then float32 by dimension: each action's
    values of all steps, then each of qpos."""
    with open_episode(path) as episode:
        sizes = (episode.steps, episode.action.shape[1], episode.qpos.shape[1])
        columns = [values.T.astype("<f4").tobytes() for values in (episode.action, episode.qpos)]
        return struct.pack("<3I", *sizes) + b"".join(columns)
