"""From a recording that ended to an episode of its dataset, in a thread of its own; nothing is lost on the way.

A journal stays until its episode is listed. What cannot be listed now (the studio is away, a disk is full) is tried
again; what is refused for good is moved to `refused` and named. Journals that a killed host left are recovered.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dexvla.errors import EpisodeError, UserError
from dexvla.live.messages import SavedOut
from dexvla.recording.journal import RecordingHead, read_head
from dexvla.recording.recorder import EpisodeRecorder
from dexvla.robots.base import RobotInfo
from worker.robot.finisher import Finisher
from worker.robot.store import AwayError, FinishedRecording, RefusedError, Store

log = logging.getLogger("studio.robot")

JOURNAL = ".partial"
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0


@dataclass
class _Task:
    """recorder: of one that was just ended, None for one that was found. steps: of the episode file, once made."""

    journal: Path
    recorder: EpisodeRecorder | None = None
    success: bool | None = None
    closed: bool = False
    head: RecordingHead | None = None
    steps: int = 0
    pause: float = _RETRY_SECONDS

    @property
    def episode(self) -> Path:
        return self.journal.with_suffix(".hdf5")

    @property
    def dataset_id(self) -> str:
        head = self.head if self.recorder is None else self.recorder.head
        return "" if head is None else str(head.notes["dataset_id"])


class Keeper:
    """`on_change` is called whenever `saving` or `saved` changed, and must not wait."""

    def __init__(self, store: Store, folder: Path, *, on_change: Callable[[], None]) -> None:
        self._store, self._folder, self._on_change = store, folder, on_change
        self._finisher = Finisher()
        self._tasks: queue.Queue[_Task | None] = queue.Queue()
        self._later: list[tuple[float, _Task]] = []
        self._saving: _Task | None = None
        self._saved: SavedOut | None = None
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    @property
    def saving(self) -> EpisodeRecorder | None:
        task = self._saving
        return None if task is None else task.recorder

    @property
    def saved(self) -> SavedOut | None:
        return self._saved

    def start(self) -> None:
        """Take up what an earlier host left, too."""
        with contextlib.suppress(FileNotFoundError):
            for journal in sorted(self._folder.glob(f"*{JOURNAL}"), key=os.path.getmtime):
                log.warning("a recording that was not saved to its end is taken up: %s", journal)
                self._tasks.put(_Task(journal))
        self._thread.start()

    def close(self, seconds: float) -> None:
        """End after what is being done; what then waits is taken up at the next start."""
        self._tasks.put(None)
        self._thread.join(seconds)

    def expect(self) -> None:
        """A recording begins: have ready what its end will need."""
        self._finisher.prepare()

    def save(self, recorder: EpisodeRecorder, *, success: bool | None) -> None:
        task = _Task(recorder.path, recorder=recorder, success=success)
        self._saving = task
        self._tasks.put(task)

    def refuse_misfit(self, dataset_id: str, info: RobotInfo, *, render_profile: str | None) -> None:
        """Raise UserError if the dataset is not there, or its episodes are unlike this robot's. While the studio
        is away nothing is known, and nothing is refused before the end."""
        try:
            dataset = self._store.dataset(dataset_id)
        except AwayError as error:
            log.warning("whether the recording fits its dataset is seen when it is saved: %s", error.__cause__ or error)
            return
        if dataset is None:
            raise UserError("that dataset is not there; choose another one")
        if not dataset.filled:
            return
        cameras = sorted(camera.name for camera in info.cameras)
        facts: list[tuple[str, object, object]] = [
            ("action dimensions", len(info.action_names), dataset.action_dim),
            ("state dimensions", len(info.joint_names), dataset.state_dim),
            ("cameras", ", ".join(cameras), ", ".join(dataset.cameras)),
            ("render profile", render_profile, dataset.render_profile),
            ("rate in Hz", info.control_hz, dataset.fps or info.control_hz),
        ]
        for what, found, expected in facts:
            if found != expected:
                raise UserError(
                    f"{what}: this robot has {found}, the episodes of {dataset.name} have {expected}; "
                    "choose another dataset or make a new one"
                )

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            task = self._next()
            if task is None:
                self._finisher.close()
                return
            self._keep(task)
            if self._saving is task:
                self._saving = None
            self._on_change()

    def _next(self) -> _Task | None:
        """The next task, also one whose time to be tried again has come."""
        while True:
            now = time.monotonic()
            due = min((when for when, _ in self._later), default=None)
            if due is not None and due <= now:
                index = next(i for i, (when, _) in enumerate(self._later) if when == due)
                return self._later.pop(index)[1]
            with contextlib.suppress(queue.Empty):
                return self._tasks.get(timeout=None if due is None else due - now)

    def _keep(self, task: _Task) -> None:
        try:
            if not self._finish(task):
                return
            episode_id = self._list(task)
            self._saved = SavedOut(episode_id=episode_id, dataset_id=task.dataset_id, steps=task.steps)
            task.episode.unlink(missing_ok=True)
            task.journal.unlink(missing_ok=True)
        except EpisodeError as error:
            self._tell(task, f"{error} The recording is kept on the robot's machine: {self._set_aside(task.journal)}")
        except RefusedError as error:
            place = self._set_aside(task.episode)
            task.journal.unlink(missing_ok=True)
            self._tell(task, f"{error} The file is kept on the robot's machine: {place}")
        except Exception as error:  # whatever it is, the recording stays where it is
            if not isinstance(error, (OSError, AwayError)):
                log.exception("a recording could not be kept")
            why = str(error).partition("\n")[0]
            self._tell(task, f"not in the dataset yet ({why}); the recording is kept and tried again")
            self._later.append((time.monotonic() + task.pause, task))
            task.pause = min(2 * task.pause, _LONGEST_RETRY_SECONDS)

    def _finish(self, task: _Task) -> bool:
        """Make the episode file unless an earlier try has; False if there is nothing to keep."""
        if task.recorder is not None and not task.closed:
            task.closed = True
            try:
                task.recorder.finish(success=task.success)
            except OSError as error:
                log.error("the end of a recording was not written: %s", error)
        if not task.steps:
            task.head = read_head(task.journal)
            task.steps = self._finisher.finish(task.journal, task.episode)
        if not task.steps:
            self._tell(task, "nothing was recorded: there was no step with a new frame of every camera")
            task.journal.unlink(missing_ok=True)
        return bool(task.steps)

    def _list(self, task: _Task) -> str:
        """Id of the episode in its dataset."""
        assert task.head is not None
        return self._store.hand_in(
            FinishedRecording(
                id=task.journal.stem,
                file=task.episode,
                dataset_id=task.dataset_id,
                by=str(task.head.notes["by"]),
            )
        )

    def _set_aside(self, file: Path) -> Path:
        place = self._folder / "refused" / file.name
        place.parent.mkdir(exist_ok=True)
        os.replace(file, place)
        return place

    def _tell(self, task: _Task, error: str) -> None:
        log.error("%s: %s", task.journal.name, error)
        self._saved = SavedOut(episode_id=None, dataset_id=task.dataset_id, steps=task.steps, error=error)
        self._on_change()
