"""Record what the robot does: verbs record, mark, save and discard. See docs/decisions/live.md.

The control loop hands over every step; from then on nothing needs the studio or a page. Saved recordings go
through `worker.robot.keeper` into their dataset.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dexvla.episodes.format import EpisodeAttributes, StepSource
from dexvla.errors import UserError
from dexvla.live.messages import RecordIn, RecordingOut, SavedOut, SaveIn
from dexvla.recording.journal import RecordingHead
from dexvla.recording.recorder import EpisodeRecorder, RecordedStep
from dexvla.robots.base import RobotInfo
from worker.robot.arbiter import BusyError
from worker.robot.keeper import JOURNAL, Keeper
from worker.robot.latch import StopLatch
from worker.robot.sources import StepRecord

MAX_SECONDS = 600.0  # of one recording; one that somebody forgot must not fill the disk
_FRESH_SECONDS = 0.5  # the oldest frame with which a recording begins

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an episode says of the robot. task, seed: of a simulator's scene."""

    info: RobotInfo
    render_profile: str | None = None
    task: str | None = None
    seed: int | None = None


class Verbs(Protocol):
    def verb(self, name: str, model: type[B] | None, carry_out: Callable[[B, str], None]) -> None: ...


class Recording:
    """A listener of the control loop, and the verbs. One recording at a time; earlier ones may still be saved.

    folder: where recordings lie until they are in their dataset. encode: as `EpisodeRecorder` wants it. attended:
    whether somebody is at the controls. latch: a stop ends the recording.
    """

    def __init__(
        self,
        *,
        folder: Path,
        keeper: Keeper,
        surroundings: Callable[[], Surroundings],
        encode: Callable[[str, NDArray[np.uint8]], bytes],
        attended: Callable[[], bool],
        latch: StopLatch,
    ) -> None:
        self._folder, self._keeper = folder, keeper
        self._surroundings, self._encode, self._attended = surroundings, encode, attended
        self._latch = latch
        self._epoch = 0  # of the latch when the recording began
        self._lock = threading.Lock()  # of the verbs
        self._active: EpisodeRecorder | None = None
        self._begun = False
        self._clock = 0.0  # seconds since 1970 at which the monotonic clock was 0

    def plug_into(self, live: Verbs) -> None:
        live.verb("record", RecordIn, self.record)
        live.verb("mark", None, lambda _, by: self.mark())
        live.verb("save", SaveIn, self.save)
        live.verb("discard", None, lambda _, by: self.discard())

    # --- verbs ----------------------------------------------------------------------------------------------------

    def record(self, request: RecordIn, by: str) -> None:
        """Raises BusyError while something is recorded, UserError for a dataset that is not there or does not fit."""
        with self._lock:
            if self._active is not None:
                raise BusyError("something is being recorded already; save or discard it first")
            stop = self._latch.now
            if stop.stopped:
                raise BusyError(f"the robot was stopped by {stop.stopped_by}; re-arm it before you record")
            around = self._surroundings()
            info = around.info
            self._keeper.refuse_misfit(request.dataset_id, info, render_profile=around.render_profile)
            head = RecordingHead(
                instruction=request.instruction,
                attributes=EpisodeAttributes(
                    sim=info.simulated,
                    robot=info.name,
                    task=around.task,
                    fps=info.control_hz,
                    seed=around.seed,
                    render_profile=around.render_profile,
                ),
                cameras=tuple(camera.name for camera in info.cameras),
                state_dim=len(info.joint_names),
                action_dim=len(info.action_names),
                notes={"dataset_id": request.dataset_id, "by": by},
            )
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._folder / f"{uuid.uuid4().hex}{JOURNAL}"
                recorder = EpisodeRecorder(path, head, encode=lambda camera, _, image: self._encode(camera, image))
            except OSError as error:
                raise UserError(f"nothing can be recorded: {error.strerror or error}; free some space") from error
            self._keeper.expect()
            self._clock = time.time() - time.monotonic()
            self._begun = False
            self._epoch = stop.epoch
            self._active = recorder

    def mark(self) -> None:
        """Who drives says that a substep begins now. Raises BusyError where nothing is recorded."""
        recorder = self._active
        if recorder is None or recorder.ended is not None:
            raise BusyError("nothing is being recorded")
        recorder.mark()

    def save(self, request: SaveIn, by: str) -> None:
        recorder = self._take()
        self._keeper.save(recorder, success=request.success)

    def discard(self) -> None:
        self._take().discard()

    def close(self) -> None:
        """The host ends: what is being recorded is recovered when it starts again."""
        with self._lock:
            recorder, self._active = self._active, None
        if recorder is not None:
            recorder.leave()

    def _take(self) -> EpisodeRecorder:
        with self._lock:
            recorder, self._active = self._active, None
        if recorder is None:
            raise BusyError("nothing is being recorded")
        recorder.end("it is being saved")
        return recorder

    # --- what the page sees -----------------------------------------------------------------------------------------

    @property
    def recording(self) -> RecordingOut | None:
        recorder = self._active
        saving = recorder is None
        recorder = recorder or self._keeper.saving
        if recorder is None:
            return None
        self._heed_stop(recorder)
        note = recorder.ended
        if note is None and not self._attended():
            note = "nobody is at the controls; the recording goes on until somebody saves or discards it"
        return RecordingOut(
            dataset_id=str(recorder.head.notes["dataset_id"]),
            steps=recorder.steps,
            marks=recorder.marks,
            seconds=round(recorder.seconds, 2),
            dropped=dict(recorder.dropped),
            saving=saving,
            ended=recorder.ended is not None,
            note=None if saving else note,
        )

    @property
    def saved(self) -> SavedOut | None:
        return self._keeper.saved

    def _heed_stop(self, recorder: EpisodeRecorder) -> None:
        """A stop ends what is recorded, also one that was re-armed since: what follows is not the task any more."""
        stop = self._latch.now
        if recorder is self._active and recorder.ended is None and stop.epoch != self._epoch:
            who = f" by {stop.stopped_by}" if stop.stopped else ""
            recorder.end(f"the robot was stopped{who}; save or discard what was recorded until then")

    # --- from the control loop ------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Steps are kept, perhaps of a robot without cameras."""
        return self._active is not None

    @property
    def cameras(self) -> frozenset[str]:
        recorder = self._active
        return frozenset() if recorder is None else frozenset(recorder.head.cameras)

    def on_step(self, record: StepRecord) -> None:
        recorder = self._active
        if recorder is None:
            return
        self._heed_stop(recorder)
        seen = record.observation
        if not self._begun:
            # A camera at rest has an old frame first.
            oldest = seen.time - _FRESH_SECONDS
            frames = [seen.frames.get(name) for name in recorder.head.cameras]
            if any(frame is None or frame.time < oldest for frame in frames):
                return
            self._begun = True
        if recorder.seconds > MAX_SECONDS:
            recorder.end(f"{MAX_SECONDS / 60:.0f} minutes are the most that a recording holds")
        action = record.sent if record.requested is None else record.requested.astype(np.float32)
        recorder.add(
            RecordedStep(
                time=seen.time,
                host_time=self._clock + record.time,
                source=StepSource(record.source.value),
                qpos=seen.qpos,
                qvel=seen.qvel,
                action=action if np.isfinite(action).all() else record.sent,
                action_sent=record.sent,
                frames={name: (frame.time, frame.image) for name, frame in seen.frames.items()},
            )
        )
