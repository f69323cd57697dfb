"""`studio worker`: a Celery worker a queue, watched; and the reconciler."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from socket import gethostname

import psutil

from backend.core import logs
from backend.core.settings import Settings
from backend.jobs.reconciler import reconciler
from backend.jobs.workers import JobQueue
from backend.studio.context import Studio
from dexvla.errors import UserError
from worker.admin import sweeper
from worker.core.processes import die_with_parent

CONCURRENCY: Mapping[JobQueue, int] = {JobQueue.TRAIN: 1, JobQueue.LIGHT: 2}
_STOP_SECONDS = 5.5  # a runner gives its command three seconds and then writes the job's row
_PAUSE_SECONDS = 2.0
_TICK_SECONDS = 0.1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class _Part:
    """worker: what the whole `studio worker` is called."""

    worker: str
    queue: JobQueue
    concurrency: int
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0

    def start(self, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.jobs.celery_worker", self.queue.value, str(self.concurrency), self.worker],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            preexec_fn=die_with_parent(signal.SIGTERM),
        )


def run_worker(settings: Settings, *, queues: Sequence[str], concurrency: int | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT; running jobs are then interrupted, queued again, and all is over in 6 s.

    concurrency: jobs at once of each queue; default one training, two others. Raises UserError for unknown queues.
    """
    try:
        wanted = [JobQueue(name) for name in dict.fromkeys(queues)]
    except ValueError as error:
        raise UserError(f"{error}; there are: {', '.join(JobQueue)}") from None
    if not wanted:
        raise UserError(f"no queue is named; there are: {', '.join(JobQueue)}")
    if settings.database_url is None and not settings.folder.database.is_file():
        raise UserError(
            f"{settings.data}: no studio has its data here; name its folder with STUDIO_DATA, or set DATABASE_URL and "
            "REDIS_URL to its servers"
        )
    logs.configure()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    # runners whose pool process dies become ours, so that we can wait for them
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    name = f"{gethostname()}-{uuid.uuid4().hex[:8]}"  # containers may share a host's name and have the same process ids
    parts = [_Part(name, queue, concurrency or CONCURRENCY[queue]) for queue in wanted]
    environment = settings.environment()
    studio = Studio.open(settings)
    reconciling = reconciler(studio)
    for part in parts:
        part.start(environment)
    reconciling.start()
    sweeper.start(studio)
    try:
        while not stopping.wait(_TICK_SECONDS):
            _look_after(parts, environment)
    finally:
        _stop(parts)
        reconciling.stop()
        studio.close()


def _look_after(parts: Sequence[_Part], environment: Mapping[str, str]) -> None:
    """Reap what has ended, orphans included, and start Celery again where it died."""
    for ended in _reap():
        for part in parts:
            if part.process is not None and part.process.pid == ended:
                part.process, part.start_at = None, time.monotonic() + _PAUSE_SECONDS
    for part in parts:
        if part.process is None and time.monotonic() >= part.start_at:
            part.start(environment)


def _reap() -> list[int]:
    ended = []
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(found[0])
    return ended


def _stop(parts: Sequence[_Part]) -> None:
    """Tell the Celery workers, wait for them and for the runners that they leave to us, and end what is left."""
    for part in parts:
        if part.process is not None:
            with suppress(ProcessLookupError):
                os.kill(part.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _children() and time.monotonic() < deadline:
        _reap()
        time.sleep(_TICK_SECONDS / 2)
    while left := _children():  # whoever dies leaves its children to us
        for child in left:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(_TICK_SECONDS / 2)
        _reap()


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]
