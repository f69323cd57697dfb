"""Out: videos. One mp4 a camera, with the substeps as chapters inside and as WebVTT subtitles beside it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.contact_sheet import even_steps
from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.outgoing import Clock, Outgoing, loss_of, outgoing, psnr
from dexvla.formats.sources import safe_names
from dexvla.formats.videos import Chapter, even_told, read_video, write_video
from dexvla.spec import Segment

_COMPARED = 32  # frames of a camera


class Mp4Exporter:
    """<name>/<camera>.mp4 and <name>/<camera>.vtt. H.264 loses a little: the report says how much, in dB.

    Each step is one video frame: at the episode's even rate, or at its own time where the steps are not even.
    """

    name = "mp4"
    title = "Videos with substeps as chapters and subtitles (mp4, WebVTT)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        for episode in episodes:
            with outgoing(episode) as going:
                on_episode(_write(out, going))
        return ()


def _write(out: Path, going: Outgoing) -> Exported:
    clock, name = going.clock, going.labels.name
    folder = out / name
    folder.mkdir()
    chapters = [
        Chapter(clock.start_of(part.start), clock.start_of(part.end), part.text) for part in going.substeps if part.text
    ]
    files, ratios, warnings = [], [], list(clock.warnings)
    for camera, plain in safe_names(going.file.cameras).items():
        video = folder / f"{plain}.mp4"
        write_video(
            video,
            _frames(going, camera),
            fps=clock.fps,
            seconds=None if clock.even else clock.seconds.tolist(),
            chapters=chapters,
            title=going.labels.instruction,
        )
        files.append(f"{name}/{plain}.mp4")
        if chapters:
            (folder / f"{plain}.vtt").write_text(webvtt(going.substeps, clock), encoding="utf-8")
            files.append(f"{name}/{plain}.vtt")
        ratios += _ratios(going, camera, video)
        height, width = going.file.frame_size(camera)
        if height % 2 or width % 2:
            warnings.append(even_told(camera, height, width))
    return Exported(name=name, files=tuple(files), warnings=tuple(warnings), loss_db=loss_of(ratios))


def webvtt(substeps: Sequence[Segment], clock: Clock) -> str:
    """Subtitles of the substeps; one without text has none."""
    cues = [
        f"{_time(clock.start_of(part.start))} --> {_time(clock.start_of(part.end))}\n{_escaped(part.text)}\n"
        for part in substeps
        if part.text.strip()
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _escaped(text: str) -> str:
    """On one line, and nothing that a player takes for markup or for the arrow between two times."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _frames(going: Outgoing, camera: str) -> Iterator[NDArray[np.uint8]]:
    return (going.file.frame(camera, step) for step in range(going.file.steps))


def _ratios(going: Outgoing, camera: str, video: Path) -> list[float]:
    """Signal to noise of evenly spread frames, dB, as they come back from the video."""
    compared = set(even_steps(going.file.steps, _COMPARED))
    ratios = []
    for step, decoded in enumerate(read_video(video, going.file.steps)):
        if step in compared:
            image = going.file.frame(camera, step)
            ratios.append(psnr(image, decoded[: image.shape[0], : image.shape[1]]))
    return ratios


MP4 = Mp4Exporter()
