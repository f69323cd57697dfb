"""The Celery worker of one queue: `python -m worker.jobs.celery_worker QUEUE CONCURRENCY NAME`, started by
worker/supervise/worker.py. NAME is that of the whole `studio worker`.

It never imports torch. Each wake-up makes one pool process take job after job of its queue until none waits; every
job runs in a process of its own (worker/jobs/runner.py), so that nothing of it stays behind.
"""

import os
import signal
import subprocess
import sys
import threading
from functools import cache
from socket import gethostname
from typing import Any

import redis
import structlog
from celery import signals

from backend.core import logs
from backend.core.settings import Settings
from backend.jobs import repository
from backend.jobs.workers import WAKE, JobQueue, beat, celery_app, leave
from backend.studio.context import Studio
from worker.core.processes import die_with_parent
from worker.jobs.runner import NOT_TO_BE_HAD

_BEAT_SECONDS = 5.0
_log = structlog.get_logger(__name__)


@cache
def _studio() -> Studio:
    """Opened in the pool process, never before it was forked."""
    return Studio.open(Settings())


def take_jobs(queue: JobQueue) -> int:
    """Run the waiting jobs of a queue, oldest first, until there are none; returns how many were run."""
    studio, ran, skip = _studio(), 0, set[str]()
    while True:
        with studio.db.transaction(write=False) as db:
            job_id = repository.next_waiting(db, queue.kinds, skip=skip)
        if job_id is None:
            return ran
        runner = [sys.executable, "-m", "worker.jobs.runner", job_id]
        status = subprocess.Popen(runner, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGTERM)).wait()
        if status == 0:
            ran += 1
        else:
            skip.add(job_id)  # somebody else has it, or its runner broke: the reconciler calls again
            if status != NOT_TO_BE_HAD:
                _log.error("runner.failed", job=job_id, status=status)


class _Beat:
    """Says every few seconds that this worker lives, from when it listens to its queue until it stops."""

    def __init__(self, name: str, queue: JobQueue) -> None:
        self._name, self._queue = name, queue
        self._stopped = threading.Event()

    def start(self, **_: Any) -> None:
        threading.Thread(target=self._run, name="beat", daemon=True).start()

    def stop(self, **_: Any) -> None:
        self._stopped.set()

    def _run(self) -> None:
        studio = Studio.open(Settings())
        while not self._stopped.is_set():
            try:
                beat(studio, self._name, self._queue)
            except redis.RedisError as error:
                _log.warning("beat.failed", error=str(error))
            self._stopped.wait(_BEAT_SECONDS)
        try:
            leave(studio, self._name, self._queue)
        except redis.RedisError:
            return


def main() -> None:
    queue, concurrency, name = JobQueue(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    logs.configure()
    settings = Settings()
    app = celery_app(settings.broker_url)

    @app.task(name=WAKE, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake(job_id: str) -> None:
        take_jobs(queue)

    beating = _Beat(name, queue)
    signals.worker_ready.connect(beating.start)
    signals.worker_shutting_down.connect(beating.stop)
    end_with_us = die_with_parent(signal.SIGKILL)
    # in each pool process, whose runner is told in turn
    signals.worker_process_init.connect(lambda **_: end_with_us(), weak=False)
    worker = app.Worker(
        queues=[queue.key],
        hostname=f"{queue.value}-{os.getpid()}@{gethostname()}",
        pool="prefork",
        concurrency=concurrency,
        loglevel=settings.log_level.upper(),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()
