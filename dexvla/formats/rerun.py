"""Out: recordings for the Rerun viewer, with cameras, joints and substeps on one timeline.

    camera/<name>    EncodedImage    the stored JPEG bytes, or Image of pixels that are stored as they are
    state, action    Scalars         one curve a dimension
    velocity         Scalars         where the file has one
    substep          TextLog         at the first step of each substep
    instruction      TextDocument

Timelines: `step` counts, `time` is in seconds from the first step.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.outgoing import Outgoing, outgoing
from dexvla.formats.sources import package, safe_names

_APPLICATION = "dexvla-studio"


class RerunExporter:
    """<name>.rrd. Needs rerun-sdk, which is large: the extra `rerun`."""

    name = "rerun"
    title = "Rerun recordings (.rrd)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        rerun = package("rerun", extra="rerun")
        for episode in episodes:
            with outgoing(episode) as going:
                with rerun.RecordingStream(_APPLICATION, recording_id=episode.name) as recording:
                    recording.save(str(out / f"{episode.name}.rrd"))
                    _log(rerun, recording, going)
                    recording.flush()
                    recording.disconnect()
                warnings = going.clock.warnings
            on_episode(Exported(name=episode.name, files=(f"{episode.name}.rrd",), warnings=warnings))
        return ()


def _log(rerun: Any, recording: Any, going: Outgoing) -> None:
    episode = going.file
    recording.send_recording_name(going.labels.name)
    recording.log("instruction", rerun.TextDocument(going.labels.instruction), static=True)
    seconds = going.clock.seconds
    columns = [
        rerun.TimeColumn("step", sequence=np.arange(episode.steps)),
        rerun.TimeColumn("time", duration=seconds),
    ]
    motion = {"state": episode.qpos, "action": episode.action}
    if episode.qvel.any():
        motion["velocity"] = episode.qvel
    for name, values in motion.items():
        names = [f"{name}_{number}" for number in range(values.shape[1])]
        recording.log(name, rerun.SeriesLines(names=names), static=True)
        recording.send_columns(name, columns, rerun.Scalars.columns(scalars=values.astype(np.float64)))
    starts = {part.start: part.text for part in going.substeps}
    places = {camera: f"camera/{plain}" for camera, plain in safe_names(episode.cameras).items()}
    for step in range(episode.steps):
        recording.set_time("step", sequence=step)
        recording.set_time("time", duration=float(seconds[step]))
        if step in starts:
            recording.log("substep", rerun.TextLog(starts[step], level=rerun.TextLogLevel.INFO))
        for camera, place in places.items():
            if episode.is_jpeg(camera) and not episode.is_swapped(camera):
                image = rerun.EncodedImage(contents=going.jpeg(camera, step), media_type="image/jpeg")
            else:
                image = rerun.Image(episode.frame(camera, step), color_model="RGB")
            recording.log(place, image)


RERUN = RerunExporter()
