"""Record an episode beside a control loop: `add` copies references and returns; a thread encodes and writes.

What is recorded is on its way to the disk within `_DRAIN_SECONDS`, in a journal (dexvla.recording.journal) that a crash
does not spoil. A frame that many steps show is encoded and stored once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.episodes.jpeg import encode_jpeg
from dexvla.recording.journal import JournalStep, JournalWriter, RecordingHead

Encode = Callable[[str, float, NDArray[np.uint8]], bytes]

_DRAIN_SECONDS = 0.05  # what a process loses that is killed, at the most, while the machine keeps up
_SYNC_SECONDS = 0.5  # what a power cut costs
_WAITING_FRAMES = 60  # of all cameras, before new ones are dropped: 55 MB at 480x640
_WAITING_STEPS = 3000  # a minute at 50 Hz: the disk is gone


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """One control step as the loop hands it over. Shapes and units: dexvla.episodes.format.

    time: robot's clock, s. host_time: seconds since 1970. action: what was asked for, before limits. frames: the
    newest of each camera as (time on the robot's clock, (H, W, 3) uint8 RGB); the arrays must not change later.
    """

    time: float
    host_time: float
    source: StepSource
    qpos: NDArray[np.float32]
    qvel: NDArray[np.float32]
    action: NDArray[np.float32]
    action_sent: NDArray[np.float32]
    frames: Mapping[str, tuple[float, NDArray[np.uint8]]]


@dataclass
class _Camera:
    """seen: time of the newest frame that a step brought. number: of the newest that was written."""

    seen: float | None = None
    number: int = 0


@dataclass(frozen=True)
class _Waiting:
    step: RecordedStep
    fresh: Mapping[str, tuple[float, NDArray[np.uint8]]]


class EpisodeRecorder:
    """Records to `path`, a journal. Raises OSError if it cannot be made.

    encode: (camera, time, frame) -> JPEG, called in the recorder's thread; for a place that encodes frames anyway
    and has this one already. `add` may come from any one thread and never waits; the rest is for another one.
    """

    def __init__(self, path: Path, head: RecordingHead, *, encode: Encode | None = None) -> None:
        self.path, self.head = path, head
        self.dropped = dict.fromkeys(head.cameras, 0)  # frames that came while too many waited
        self.steps = 0  # taken by `add`
        self.marks = 0
        self.ended: str | None = None  # why no step is taken any more
        self.failed: OSError | None = None  # what the disk said, after which nothing is written any more
        self._encode = encode or (lambda camera, time, frame: encode_jpeg(frame))
        self._cameras = {name: _Camera() for name in head.cameras}
        self._waiting: deque[_Waiting] = deque()
        self._marked: deque[int] = deque()
        self._brought, self._written = 0, 0  # frames; each counted by one thread, so that no lock is needed
        self._stop = threading.Event()
        self._journal = JournalWriter(path, head)
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._began: float | None = None
        self._last: float | None = None
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Length so far."""
        return 0.0 if self._began is None or self._last is None else self._last - self._began

    def add(self, step: RecordedStep) -> None:
        """Take a step. Steps before every camera has had a frame are left out; none is after `ended` is set."""
        if self.ended is not None or any(name not in step.frames for name in self.head.cameras):
            return
        if self._last is not None and step.time <= self._last:
            self.ended = "the robot's clock began anew: the scene was reset, or the robot was connected again"
            return
        if len(self._waiting) >= _WAITING_STEPS:
            self.ended = "the disk does not take what is recorded"
            return
        fresh: dict[str, tuple[float, NDArray[np.uint8]]] = {}
        for name, camera in self._cameras.items():
            frame = step.frames[name]
            if frame[0] == camera.seen:
                continue
            # The first is always kept: without it there would be no step.
            if self._brought + len(fresh) - self._written < _WAITING_FRAMES or camera.seen is None:
                fresh[name] = frame
            else:
                self.dropped[name] += 1
            camera.seen = frame[0]
        self._brought += len(fresh)
        self._waiting.append(_Waiting(step, fresh))
        self._began = step.time if self._began is None else self._began
        self._last = step.time
        self.steps += 1

    def mark(self) -> None:
        """A substep begins with the next step. From any thread; never waits."""
        if self.ended is None:
            self._marked.append(self.steps)
            self.marks += 1

    def end(self, why: str) -> None:
        """Take no more steps; what is recorded stays and waits for `finish` or `discard`."""
        self.ended = self.ended or why

    def finish(self, *, success: bool | None) -> None:
        """End it on purpose: everything is on the disk when this returns. Raises OSError if the disk refused."""
        self.end("it is being saved")
        self._close()
        if self.failed is not None:
            self._journal.close()
            raise self.failed
        try:
            self._journal.end(success=success)
        finally:
            self._journal.close()

    def leave(self) -> None:
        """The process ends: keep what is recorded as it is, to be recovered later."""
        self.end("its process ended")
        self._close()
        self._journal.close()

    def discard(self) -> None:
        self.end("it was discarded")
        self._close()
        self._journal.close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        synced = time.monotonic()
        while self.failed is None:
            stopping = self._stop.wait(_DRAIN_SECONDS)
            try:
                while self._waiting:
                    self._write(self._waiting.popleft())
                while self._marked:
                    self._journal.mark(self._marked.popleft())
                if time.monotonic() - synced > _SYNC_SECONDS:
                    self._journal.sync()
                    synced = time.monotonic()
            except OSError as error:
                self.failed = error
                self.end(f"it cannot be written: {error.strerror or error}; what came before is kept")
            if stopping:
                return

    def _write(self, waiting: _Waiting) -> None:
        step = waiting.step
        for name, (taken, frame) in waiting.fresh.items():
            self._written += 1
            self._journal.frame(name, taken, self._encode(name, taken, frame))
            self._cameras[name].number += 1
        self._journal.step(
            JournalStep(
                time=step.time,
                host_time=step.host_time,
                source=step.source,
                qpos=step.qpos,
                qvel=step.qvel,
                action=step.action,
                action_sent=step.action_sent,
                frames=tuple(self._cameras[name].number for name in self.head.cameras),
            )
        )
