"""Videos by PyAV: H.264 in mp4 out, ordinary containers in, bounded before anything is decoded."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.jpeg import MAX_PIXELS
from dexvla.episodes.times import exact_rate
from dexvla.formats.base import FormatError
from dexvla.formats.sources import package

# By ending, and read as nothing else: a playlist that calls itself mp4 would open other files and addresses.
_CONTAINERS = {".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
VIDEO_ENDINGS = tuple(_CONTAINERS)
# FFmpeg may open this file alone, and follows no reference to another
_ALONE = {"protocol_whitelist": "file", "enable_drefs": "0"}
_BOUNDED = {"max_pixels": str(MAX_PIXELS)}  # of one frame, also where a later one says another size than the first
_BT709 = 1  # FFmpeg's number for matrix, primaries and transfer of HD video, which browsers assume
_LIMITED = 1  # and for brightness from 16 to 235
_TRUE_SIZE = (
    "true size "  # in a video's comment: height x width of frames with odd sides, which the codec does not have
)
_TICKS = 90_000  # a second, of frames that carry times of their own


@dataclass(frozen=True)
class Chapter:
    """A titled stretch of a video, seconds."""

    start: float
    end: float
    title: str


@dataclass(frozen=True)
class VideoFacts:
    """frames: as many as the container holds. fps: its mean rate, Hz, or None. times: seconds of each frame."""

    height: int
    width: int
    frames: int
    fps: float | None
    times: NDArray[np.float64]


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    seconds: Sequence[float] | None = None,
    chapters: Sequence[Chapter] = (),
    title: str = "",
    keyframe_every: int | None = None,
) -> None:
    """H.264 that browsers play, one video frame for each of `frames`, (H, W, 3) uint8 RGB, in their order.

    seconds: the time of each, rising; None: an even rate of `fps`. Odd sides get their last row or column twice; the
    true size stands in the video's comment, by which the readers below leave them out again.
    keyframe_every: frames from one that needs no other to the next; None: a second of them.
    """
    av = package("av")
    rate = Fraction(fps).limit_denominator(1_000_000)
    base = 1 / rate if seconds is None else Fraction(1, _TICKS)
    options = {"movflags": "+faststart"}
    if seconds is not None:
        options["video_track_timescale"] = str(_TICKS)
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata["title"] = title
        if chapters:
            container.set_chapters([_chapter(number, chapter) for number, chapter in enumerate(chapters)])
        images = iter(frames)
        first = next(images, None)
        if first is None:
            raise FormatError(f"{path.name}: no frames; expected at least one")
        if first.shape[0] % 2 or first.shape[1] % 2:
            container.metadata["comment"] = f"{_TRUE_SIZE}{first.shape[0]}x{first.shape[1]}"
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        # without frames that wait for later ones every frame keeps its time from 0 on; a second between whole frames
        stream.options = {"crf": "16", "preset": "veryfast", "bf": "0", "g": str(keyframe_every or max(round(fps), 1))}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        stream.time_base = context.time_base = base
        for step, image in enumerate(chain([first], images)):
            height, width = image.shape[:2]
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if step == 0:
                stream.height, stream.width = image.shape[:2]
            elif image.shape[:2] != (stream.height, stream.width):
                raise FormatError(f"{path.name}: step {step} is {height} x {width}, another size than those before it")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
            frame.pts = step if seconds is None else round(seconds[step] * _TICKS)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def even_told(camera: str, height: int, width: int) -> str:
    """What is said of frames with an odd side."""
    return (
        f"camera {camera}: {height} x {width} is made even for the codec, its last line is doubled; an import of ours "
        "leaves it out again, other tools show it"
    )


def _chapter(number: int, chapter: Chapter) -> dict[str, Any]:
    return {
        "id": number,
        "start": round(chapter.start * 1000),
        "end": round(chapter.end * 1000),
        "time_base": Fraction(1, 1000),
        "metadata": {"title": chapter.title},
    }


def video_facts(path: Path) -> VideoFacts:
    """Without decoding: size and the times of all its frames. Raises FormatError for what is not a video, too large
    a one, or one that is damaged."""
    with _opened(path) as (av, container, stream):
        size = _true_size(container, stream)
        try:
            base = float(stream.time_base or 0)
            times = [packet.pts * base for packet in container.demux(stream) if packet.pts is not None]
        except av.FFmpegError as error:
            raise FormatError(f"{path}: damaged video ({error}); convert it again or leave it out") from error
        if not times:
            raise FormatError(f"{path}: a video without frames; expected at least one")
        if len(times) > bounds.MAX_STEPS:
            raise FormatError(f"{path}: {len(times)} frames, at most {bounds.MAX_STEPS} are read; cut it into episodes")
        fps = exact_rate(float(stream.average_rate)) if stream.average_rate else None
        return VideoFacts(*size, len(times), fps, np.sort(np.asarray(times, np.float64)))


def video_size(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone. Raises FormatError as `video_facts`."""
    with _opened(path) as (_, container, stream):
        return _true_size(container, stream)


def _true_size(container: Any, stream: Any) -> tuple[int, int]:
    """Height and width of the frames that were written: one less than the codec's where a side was made even."""
    height, width = int(stream.codec_context.height), int(stream.codec_context.width)
    comment = container.metadata.get("comment", "")
    said = re.fullmatch(r"(\d{1,5})x(\d{1,5})", comment.removeprefix(_TRUE_SIZE)) if _TRUE_SIZE in comment else None
    if said is not None:
        odd = int(said[1]), int(said[2])
        if (odd[0] + odd[0] % 2, odd[1] + odd[1] % 2) == (height, width):
            return odd
    return height, width


def read_video(path: Path, frames: int) -> Iterator[NDArray[np.uint8]]:
    """The first `frames` frames, (H, W, 3) uint8 RGB, one at a time. Raises FormatError if fewer can be decoded."""
    given = 0
    with _opened(path) as (av, container, stream):
        height, width = stream.codec_context.height, stream.codec_context.width
        rows, columns = _true_size(container, stream)
        stream.thread_type = "SLICE"  # frame by frame: threads over frames keep many of them
        try:
            for frame in container.decode(stream):
                if (frame.height, frame.width) != (height, width):
                    raise FormatError(
                        f"{path}: frame {given} is {frame.height} x {frame.width}, expected {height} x {width} as the "
                        "others; convert the video to one size"
                    )
                yield frame.to_ndarray(format="rgb24")[:rows, :columns]
                given += 1
                if given == frames:
                    return
        except av.FFmpegError as error:
            raise FormatError(
                f"{path}: frame {given} cannot be decoded ({error}); convert the video again or leave it out"
            ) from error
    raise FormatError(
        f"{path}: {given} frames can be decoded, expected {frames}; convert the video again or leave it out"
    )


def read_stretch(path: Path, *, begin: float, fps: float, frames: int) -> Iterator[NDArray[np.uint8]]:
    """The frames at begin + k / fps seconds for k < frames, (H, W, 3) uint8 RGB, one at a time, each by its own time.

    Raises FormatError where one is missing.
    """
    half, wanted = 0.5 / fps, 0
    with _opened(path) as (av, container, stream):
        stream.thread_type = "SLICE"
        base = float(stream.time_base or 0)
        size = stream.codec_context.height, stream.codec_context.width
        rows, columns = _true_size(container, stream)
        try:
            if begin > 0:
                container.seek(int(begin / base), stream=stream)
            for frame in container.decode(stream):
                time = (frame.pts or 0) * base
                if time < begin + wanted / fps - half:
                    continue
                if time > begin + wanted / fps + half:
                    break
                if (frame.height, frame.width) != size:
                    raise FormatError(f"{path}: the frame at {time:.3f} s has another size than {size[0]} x {size[1]}")
                yield frame.to_ndarray(format="rgb24")[:rows, :columns]
                wanted += 1
                if wanted == frames:
                    return
        except av.FFmpegError as error:
            raise FormatError(f"{path}: frame {wanted} cannot be decoded ({error}); copy the video again") from error
    raise FormatError(
        f"{path}: no frame at {begin + wanted / fps:.4f} s, which is step {wanted} of {frames}; copy the video again"
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """(PyAV, the container, its video stream), of a size that may be decoded."""
    av = package("av")
    kind = _CONTAINERS.get(path.suffix.lower())
    if kind is None:
        raise FormatError(f"{path}: {path.suffix or 'no'} ending, expected one of {', '.join(_CONTAINERS)}")
    try:
        container = av.open(str(path), format=kind, options=_ALONE, stream_options=[_BOUNDED])
    except (av.FFmpegError, ValueError) as error:
        raise FormatError(f"{path}: not a readable video ({error}); convert it to mp4 or leave it out") from error
    with container:
        if not container.streams.video:
            raise FormatError(f"{path}: no video in it; expected one stream of frames")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None or not context.height or not context.width:
            raise FormatError(
                f"{path}: its codec is unknown, or its frames name no size or one of more than {MAX_PIXELS} pixels; "
                "convert it to H.264 of a smaller size"
            )
        if context.height * context.width > MAX_PIXELS:
            raise FormatError(
                f"{path}: declares {context.height} x {context.width} pixels, at most {MAX_PIXELS} are decoded; "
                "convert it to a smaller size"
            )
        context.options = _BOUNDED
        yield av, container, stream
