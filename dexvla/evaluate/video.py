"""Evaluation videos: the cameras side by side with a line of text, as mp4 that browsers play."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dexvla.errors import UserError
from dexvla.files import atomic_file

CAMERA_HEIGHT = 240
CAPTION_HEIGHT = 28


class VideoWriter:
    """H.264 in mp4, written beside its place and renamed when it is complete; on an error nothing stays."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path, self._fps = path, fps
        self._atomic = atomic_file(path)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        try:
            import av
        except ImportError as error:
            raise UserError(
                "writing videos needs PyAV: pip install 'dexvla-studio[robot]', or leave videos out"
            ) from error
        self._av = av
        self._container = av.open(str(self._atomic.__enter__()), "w", format="mp4", options={"movflags": "+faststart"})
        return self

    def add(self, images: Mapping[str, NDArray[np.uint8]], caption: str) -> None:
        """Append one image: (H, W, 3) uint8 RGB per camera, side by side in the order given."""
        image = mosaic(images, caption)
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=round(self._fps))
            self._stream.height, self._stream.width = image.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "26", "preset": "veryfast"}
        for packet in self._stream.encode(self._av.VideoFrame.from_ndarray(image, format="rgb24")):
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
        finally:
            self._atomic.__exit__(kind, error, trace)


def mosaic(images: Mapping[str, NDArray[np.uint8]], caption: str) -> NDArray[np.uint8]:
    """Cameras side by side at 240 rows, a caption below; even sides, as the codec wants."""
    parts = []
    for image in images.values():
        height, width = image.shape[:2]
        parts.append(Image.fromarray(image).resize((round(width * CAMERA_HEIGHT / height), CAMERA_HEIGHT)))
    width = sum(part.width for part in parts)
    canvas = Image.new("RGB", (width + width % 2, CAMERA_HEIGHT + CAPTION_HEIGHT), (24, 26, 30))
    left = 0
    for part in parts:
        canvas.paste(part, (left, 0))
        left += part.width
    ImageDraw.Draw(canvas).text(
        (8, CAMERA_HEIGHT + 6), caption, fill=(235, 235, 235), font=ImageFont.load_default(size=14)
    )
    return np.asarray(canvas)
