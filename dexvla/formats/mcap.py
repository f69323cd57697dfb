"""Out: MCAP for Foxglove, with cameras, joints and substeps on one timeline. What
dexvla.formats.own_mcap reads back exactly.

    /camera/<name>  foxglove.CompressedImage   the stored JPEG bytes, or PNG of pixels that are stored as they are
    /state          foxglove.JointStates       qpos, and qvel as velocity where the file has one
    /action         foxglove.JointStates       likewise /action_sent and /joint_positions where the file has them
    /substep        foxglove.Log               at the first step of each substep
    /instruction    foxglove.Log               at the first step

Metadata `dexvla.episode` says what has no place in messages. Attachments `timestamp`, `host_timestamp` and
`image_timestamp/<name>` hold the file's own times: messages have whole nanoseconds, which a float64 of seconds has not.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg
from dexvla.episodes.lineage import lineage_facts
from dexvla.episodes.segments import run_length
from dexvla.formats import foxglove
from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.outgoing import Outgoing, loss_of, outgoing, psnr
from dexvla.formats.own_mcap import HOST_TIMESTAMP, IMAGE_TIMESTAMP, METADATA, TIMESTAMP
from dexvla.formats.sources import package, safe_names
from dexvla.formats.stored import plain_attributes

_QUALITY = 95  # of JPEG rows whose red and blue are put right
_COMPARED = 50  # steps between two frames whose loss is looked at


class McapExporter:
    """<name>.mcap."""

    name = "mcap"
    title = "MCAP for Foxglove"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        for episode in episodes:
            with outgoing(episode) as going, (out / f"{episode.name}.mcap").open("wb") as target:
                written = _Writer(target, going)
                written.write()
                warnings = (*going.clock.warnings, *written.warnings)
                loss = loss_of(written.ratios)
            files = (f"{episode.name}.mcap",)
            on_episode(Exported(name=episode.name, files=files, warnings=warnings, loss_db=loss))
        return ()


class _Writer:
    """Writes one episode. Afterwards: warnings, and the signal to noise of each frame that was encoded anew."""

    def __init__(self, target: Any, going: Outgoing) -> None:
        writer = package("mcap.writer")
        # frames are compressed already; a chunk of 4 MiB holds some seconds
        self._file = writer.Writer(target, chunk_size=4 * 2**20, compression=writer.CompressionType.LZ4)
        self._going, self._episode = going, going.file
        self._topics = {camera: f"/camera/{plain}" for camera, plain in safe_names(going.file.cameras).items()}
        self._channels: dict[str, int] = {}
        self._has_velocity = bool(going.file.qvel.any())
        more = {"/action_sent": going.file.action_sent, "/joint_positions": going.file.joint_positions}
        self._more = {topic: values for topic, values in more.items() if values is not None}
        self.warnings: list[str] = []
        self.ratios: list[float] = []

    def write(self) -> None:
        episode = self._episode
        self._file.start(profile="", library="dexvla-studio")
        self._open_channels()
        self._file.add_metadata(METADATA, {"facts": json.dumps(self._facts(), ensure_ascii=False)})
        self._attach(TIMESTAMP, episode.timestamp)
        self._attach(HOST_TIMESTAMP, episode.host_timestamp)
        for camera in episode.cameras:
            self._attach(f"{IMAGE_TIMESTAMP}{camera}", episode.image_timestamp(camera))
        if any(episode.is_swapped(camera) for camera in episode.cameras if episode.is_jpeg(camera)):
            self.warnings.append(
                f"its JPEG rows have red and blue swapped: encoded anew at quality {_QUALITY}, for viewers show a JPEG "
                "as it is"
            )
        times = self._times()
        starts = {part.start: part.text for part in self._going.substeps}
        for step, time in enumerate(times):
            if step == 0:
                self._log("/instruction", time, self._going.labels.instruction)
            if step in starts:
                self._log("/substep", time, starts[step])
            self._joints("/state", time, episode.qpos[step], episode.qvel[step] if self._has_velocity else None)
            self._joints("/action", time, episode.action[step], None)
            for topic, values in self._more.items():
                self._joints(topic, time, values[step], None)
            for camera in episode.cameras:
                self._image(camera, step, time)
        self._file.finish()

    def _open_channels(self) -> None:
        schemas = {}
        for name in ("CompressedImage", "JointStates", "Log"):
            schemas[name] = self._file.register_schema(f"foxglove.{name}", "protobuf", foxglove.schema())
        topics = {"/state": "JointStates", "/action": "JointStates", "/substep": "Log", "/instruction": "Log"}
        topics |= dict.fromkeys(self._more, "JointStates")
        topics |= dict.fromkeys(self._topics.values(), "CompressedImage")
        for topic, name in topics.items():
            self._channels[topic] = self._file.register_channel(topic, "protobuf", schemas[name])

    def _facts(self) -> dict[str, Any]:
        going, about = self._going, self._episode.attributes
        source = going.labels.label_source
        return {
            "steps": self._episode.steps,
            "fps": about.fps,
            "fps_guessed": about.fps_guessed is True,
            "sim": about.sim,
            "robot": about.robot,
            "task": about.task,
            "seed": about.seed,
            "success": going.success,
            "held": about.held,
            "render_profile": about.render_profile,
            "reward": about.reward,
            "sources": None
            if self._episode.step_source is None
            else [part.model_dump() for part in run_length(self._episode.step_source)],
            "marks": self._episode.marks,
            "instruction": going.labels.instruction,
            "paraphrases": going.labels.paraphrases,
            "substeps": [part.model_dump() for part in going.substeps],
            "label_source": None if source is None else str(source),
            "cameras": self._topics,
            "tags": going.labels.tags,
            "person": going.labels.person,
            "state_names": self._episode.state_names,
            "action_names": self._episode.action_names,
            "extra": plain_attributes(self._episode),
            "lineage": lineage_facts(self._episode.lineage),
        }

    def _times(self) -> list[int]:
        """Of each step, nanoseconds: since 1970 where the file knows that, else since the first step."""
        wall = self._episode.host_timestamp
        start = 0 if wall is None or not np.isfinite(wall[0]) or wall[0] < 0 else round(float(wall[0]) * 1e9)
        return [start + round(second * 1e9) for second in self._going.clock.seconds.tolist()]

    def _attach(self, name: str, times: NDArray[np.float64] | None) -> None:
        if times is not None:
            data = np.asarray(times, "<f8").tobytes()
            self._file.add_attachment(0, 0, name, "application/octet-stream", data)

    def _log(self, topic: str, time: int, text: str) -> None:
        message = foxglove.message("Log")(level=foxglove.LOG_INFO, message=text, name=topic[1:])
        self._send(topic, time, message)

    def _joints(self, topic: str, time: int, values: NDArray[np.float32], speeds: NDArray[np.float32] | None) -> None:
        message = foxglove.message("JointStates")()
        for number, value in enumerate(values.tolist()):
            joint = message.joints.add(name=f"{topic[1:]}_{number}", position=value)
            if speeds is not None:
                joint.velocity = float(speeds[number])
        self._send(topic, time, message)

    def _image(self, camera: str, step: int, time: int) -> None:
        kind, data = self._encoded(camera, step)
        message = foxglove.message("CompressedImage")(data=data, format=kind, frame_id=camera)
        self._send(self._topics[camera], time, message)

    def _encoded(self, camera: str, step: int) -> tuple[str, bytes]:
        jpeg = self._episode.is_jpeg(camera)
        if jpeg and not self._episode.is_swapped(camera):
            return "jpeg", self._going.jpeg(camera, step)
        image = self._episode.frame(camera, step)
        if not jpeg:
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG", compress_level=1)
            return "png", content.getvalue()
        data = encode_jpeg(image, quality=_QUALITY)
        if step % _COMPARED == 0:
            self.ratios.append(psnr(image, decode_jpeg(data)))
        return "jpeg", data

    def _send(self, topic: str, time: int, message: Any) -> None:
        foxglove.set_stamp(message.timestamp, time)
        self._file.add_message(self._channels[topic], time, message.SerializeToString(), time)


MCAP = McapExporter()
