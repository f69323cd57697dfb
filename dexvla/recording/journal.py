"""A recording on its way: a file that is only ever appended to, so that a crash costs its end and nothing before.

    magic, then records: kind (1 byte), length and CRC-32 of the payload (uint32 each, little endian), payload

    H   JSON of `RecordingHead`, first and once
    P   a frame: camera (uint16), time on the robot's clock (float64), JPEG bytes; frames count from 1 per camera
    S   a step: `_STEP`, qpos, qvel, action, action_sent (float32), then the number of each camera's frame (uint32)
    M   JSON {"step": t}: who drives says that a substep begins with the step that follows, the t-th (from 0)
    E   JSON {"success": true | false | null}: somebody ended it on purpose

A step and all that belongs to it is one record and comes after its frames, so no reading is ever ragged. Every record
goes to the system in one write, in order: what the process had written survives its death, and the first record that is
cut off or whose checksum is wrong is where the recording ends. A frame is stored once, however many steps show it.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import EpisodeAttributes, EpisodeData, StepSource
from dexvla.errors import EpisodeError

_MAGIC = b"dexvla recording 1\n"
_RECORD = struct.Struct("<cII")
_FRAME = struct.Struct("<Hd")
_STEP = struct.Struct("<ddB")  # time on the robot's clock, seconds since 1970, source
_HEAD_BYTES = 2**16
_SOURCES = tuple(StepSource)


@dataclass(frozen=True, kw_only=True)
class RecordingHead:
    """What is known when a recording begins. notes: whatever its owner needs to go on after a crash, JSON."""

    instruction: str
    attributes: EpisodeAttributes
    cameras: tuple[str, ...]
    state_dim: int
    action_dim: int
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JournalStep:
    """One control step. time: robot's clock, s; host_time: seconds since 1970; frames: each camera's number."""

    time: float
    host_time: float
    source: StepSource
    qpos: NDArray[np.float32]
    qvel: NDArray[np.float32]
    action: NDArray[np.float32]
    action_sent: NDArray[np.float32]
    frames: tuple[int, ...]


@dataclass(kw_only=True)
class Journal:
    """What could be read. ended: somebody ended it on purpose, with `success`; else it was cut off by a crash."""

    head: RecordingHead
    steps: list[JournalStep]
    frames: dict[str, list[tuple[float, bytes]]]
    marks: list[int] = field(default_factory=list)
    ended: bool = False
    success: bool | None = None

    def episode(self) -> EpisodeData:
        """Raises EpisodeError where no step was kept."""
        if not self.steps:
            raise EpisodeError("the recording holds no complete step")
        names = self.head.cameras
        shown = {
            name: [self.frames[name][step.frames[index] - 1] for step in self.steps] for index, name in enumerate(names)
        }
        attributes = asdict(self.head.attributes) | {"success": self.success}
        return EpisodeData(
            action=np.stack([step.action for step in self.steps]),
            action_sent=np.stack([step.action_sent for step in self.steps]),
            qpos=np.stack([step.qpos for step in self.steps]),
            qvel=np.stack([step.qvel for step in self.steps]),
            images={name: [data for _, data in frames] for name, frames in shown.items()},
            image_timestamp={name: np.array([time for time, _ in frames]) for name, frames in shown.items()},
            timestamp=np.array([step.time for step in self.steps]),
            host_timestamp=np.array([step.host_time for step in self.steps]),
            step_source=[step.source for step in self.steps],
            marks=sorted({mark for mark in self.marks if mark < len(self.steps)}) or None,
            instruction=self.head.instruction,
            attributes=EpisodeAttributes(**attributes),
        )


class JournalWriter:
    """Makes the file, which must not exist, and appends to it. For one thread. Every method may raise OSError."""

    def __init__(self, path: Path, head: RecordingHead) -> None:
        self._cameras = {name: index for index, name in enumerate(head.cameras)}
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            self._write(_MAGIC + _record(b"H", json.dumps(asdict(head)).encode()))
            self.sync()
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def frame(self, camera: str, time: float, jpeg: bytes) -> None:
        self._write(_record(b"P", _FRAME.pack(self._cameras[camera], time) + jpeg))

    def step(self, step: JournalStep) -> None:
        arrays = (step.qpos, step.qvel, step.action, step.action_sent)
        payload = _STEP.pack(step.time, step.host_time, _SOURCES.index(step.source))
        payload += b"".join(np.asarray(array, "<f4").tobytes() for array in arrays)
        self._write(_record(b"S", payload + np.array(step.frames, "<u4").tobytes()))

    def mark(self, step: int) -> None:
        self._write(_record(b"M", json.dumps({"step": step}).encode()))

    def end(self, *, success: bool | None) -> None:
        self._write(_record(b"E", json.dumps({"success": success}).encode()))
        self.sync()

    def sync(self) -> None:
        """To the disk: also a power cut leaves what was written before."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]


def read_head(path: Path) -> RecordingHead:
    """Without reading the rest. Raises EpisodeError for what is no recording."""
    with path.open("rb") as file:
        return _first(_records(file.read(_HEAD_BYTES), path), path)


def read_journal(path: Path) -> Journal:
    """Everything up to the first record that is not whole. Raises EpisodeError for what is no recording."""
    records = _records(path.read_bytes(), path)
    head = _first(records, path)
    try:
        journal = Journal(head=head, steps=[], frames={name: [] for name in head.cameras})
        for kind, payload in records:
            if kind == b"P":
                camera, time = _FRAME.unpack_from(payload)
                journal.frames[head.cameras[camera]].append((time, payload[_FRAME.size :]))
            elif kind == b"S":
                journal.steps.append(_step(head, payload))
            elif kind == b"M":
                journal.marks.append(int(json.loads(payload)["step"]))
            elif kind == b"E":
                journal.ended, journal.success = True, json.loads(payload)["success"]
                break
    except (ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        raise EpisodeError(f"{path}: not a recording of this version ({error!r})") from error
    return journal


def _records(content: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    if not content.startswith(_MAGIC):
        raise EpisodeError(f"{path}: not a recording; it does not begin with {_MAGIC!r}")
    place = len(_MAGIC)
    while place + _RECORD.size <= len(content):
        kind, length, checksum = _RECORD.unpack_from(content, place)
        place += _RECORD.size
        payload = content[place : place + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        place += length
        yield kind, payload


def _record(kind: bytes, payload: bytes) -> bytes:
    return _RECORD.pack(kind, len(payload), zlib.crc32(payload)) + payload


def _first(records: Iterator[tuple[bytes, bytes]], path: Path) -> RecordingHead:
    kind, payload = next(records, (b"", b""))
    if kind != b"H":
        raise EpisodeError(f"{path}: the recording has no head; nothing was recorded")
    try:
        value = json.loads(payload)
        attributes = EpisodeAttributes(**value["attributes"])
        return RecordingHead(**value | {"attributes": attributes, "cameras": tuple(value["cameras"])})
    except (ValueError, TypeError, KeyError) as error:
        raise EpisodeError(f"{path}: not a recording of this version ({error!r})") from error


def _step(head: RecordingHead, payload: bytes) -> JournalStep:
    time, host_time, source = _STEP.unpack_from(payload)
    sizes = (head.state_dim, head.state_dim, head.action_dim, head.action_dim)
    values = np.frombuffer(payload, "<f4", sum(sizes), _STEP.size).astype(np.float32)
    qpos, qvel, action, sent = np.split(values, np.cumsum(sizes)[:-1])
    frames = np.frombuffer(payload, "<u4", len(head.cameras), _STEP.size + 4 * sum(sizes))
    return JournalStep(
        time=time,
        host_time=host_time,
        source=_SOURCES[source],
        qpos=qpos,
        qvel=qvel,
        action=action,
        action_sent=sent,
        frames=tuple(map(int, frames)),
    )
