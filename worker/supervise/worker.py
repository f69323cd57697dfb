"""`studio worker`: a Celery worker a queue, watched; the reconciler and the sweeper."""

import ctypes
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from socket import gethostname

import psutil
import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.core import logs
from backend.core.settings import Settings
from backend.jobs.reconciler import reconciler
from backend.jobs.workers import JobQueue
from backend.studio.context import Studio
from backend.studio.whereabouts import agree
from dexvla.errors import UserError
from worker.admin.sweeper import sweeper
from worker.supervise.parts import Part, look_after

CONCURRENCY: Mapping[JobQueue, int] = {JobQueue.TRAIN: 1, JobQueue.LIGHT: 2}
_STOP_SECONDS = 5.5  # a runner gives its command three seconds and then writes the job's row
_TICK_SECONDS = 0.1
_PR_SET_CHILD_SUBREAPER = 36
_log = structlog.get_logger(__name__)


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
    parts = [Part(f"queue {queue}", _celery(name, queue, concurrency or CONCURRENCY[queue])) for queue in wanted]
    environment = {**os.environ, **settings.environment()}
    for part in parts:  # before there are threads, and connections: they are forks of this process
        part.start(environment)
    studio = Studio.open(settings)
    with suppress(SQLAlchemyError):  # away for a moment: jobs are taken when it is there
        agree(studio)
    if (away := studio.store.problem(write=True)) is not None:
        _log.warning("store.problem", why=away)
    reconciling = reconciler(studio)
    reconciling.start()
    sweeper(studio).start()
    try:
        while not stopping.wait(_TICK_SECONDS):
            _reap(parts)
            look_after(parts, environment, _log.warning)
    finally:
        _stop(parts)
        reconciling.stop()
        studio.close()


def _celery(name: str, queue: JobQueue, concurrency: int) -> list[str]:
    """name: what the whole `studio worker` is called."""
    return [sys.executable, "-m", "worker.jobs.celery_worker", queue.value, str(concurrency), name]


def _reap(parts: Sequence[Part]) -> None:
    """Wait for what has ended, orphans included; a part is told how it ended."""
    running = {part.process.pid: part.process for part in parts if part.process is not None}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if (process := running.get(found[0])) is not None:
                process.returncode = os.waitstatus_to_exitcode(found[1])


def _stop(parts: Sequence[Part]) -> None:
    """Tell the Celery workers, wait for them and for the runners that they leave to us, and end what is left."""
    for part in parts:
        if part.process is not None:
            with suppress(ProcessLookupError):
                os.kill(part.process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _children() and time.monotonic() < deadline:
        _reap(parts)
        time.sleep(_TICK_SECONDS / 2)
    while left := _children():  # whoever dies leaves its children to us
        for child in left:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(_TICK_SECONDS / 2)
        _reap(parts)


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]
