"""Pictures of an episode as a browser can show them: JPEG with red where red belongs."""

import io
import json
import struct
from functools import lru_cache
from pathlib import Path

from PIL import Image

from dexvla.episodes.jpeg import encode_jpeg
from dexvla.episodes.reader import Episode, open_episode

_QUALITY = 90
_PROXY_QUALITY = 80
_THUMBNAIL_HEIGHT = 144


def jpeg(episode: Episode, camera: str, step: int, *, height: int | None = None) -> bytes:
    """The exact picture, as stored where it is an ordinary JPEG, otherwise encoded anew; height: at most so many rows.

    Raises EpisodeError for a camera that is not there or a picture that cannot be read.
    """
    if height is not None and episode.frame_size(camera)[0] > height:
        return _smaller(episode, camera, step, height)
    if episode.compressed and episode.rgb_jpeg:
        return episode.stored_frame(camera, step).tobytes().rstrip(b"\0")
    return encode_jpeg(episode.frame(camera, step), quality=_QUALITY)


def _smaller(episode: Episode, camera: str, step: int, height: int) -> bytes:
    rows, columns = episode.frame_size(camera)
    width = max(1, round(columns * height / rows))
    if episode.compressed and episode.rgb_jpeg:
        with Image.open(io.BytesIO(episode.stored_frame(camera, step).tobytes())) as picture:
            picture.draft("RGB", (width, height))  # the decoder halves while it decodes
            small = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    else:
        small = Image.fromarray(episode.frame(camera, step)).resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_PROXY_QUALITY)
    return buffer.getvalue()


def pack(path: Path, *, start: int, count: int, height: int | None) -> bytes:
    """Steps start .. start + count of all cameras; the layout is that of the endpoint's description."""
    with open_episode(path) as episode:
        steps = range(start, min(start + count, episode.steps))
        pictures = [[jpeg(episode, camera, step, height=height) for camera in episode.cameras] for step in steps]
        header = {
            "start": start,
            "count": len(steps),
            "cameras": list(episode.cameras),
            "sizes": [[len(picture) for picture in row] for row in pictures],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(picture for row in pictures for picture in row)])


def thumbnail(path: Path) -> bytes:
    """A small picture of the first camera from the middle of the episode."""
    with open_episode(path) as episode:
        return jpeg(episode, episode.cameras[0], episode.steps // 2, height=_THUMBNAIL_HEIGHT)


@lru_cache(maxsize=64)
def motion(path: Path, changed_ns: int) -> tuple[int, list[list[float]], list[list[float]]]:
    """(steps, action, qpos), rounded for a plot. changed_ns: of the file, so that a new one is read again."""
    with open_episode(path) as episode:
        return episode.steps, episode.action.round(4).tolist(), episode.qpos.round(4).tolist()
