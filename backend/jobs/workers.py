"""Queues, the workers that serve them, and the wake-up call over Celery.

A message is only a wake-up: which job runs is decided by the rows, so lost, doubled or late messages harm nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import redis
from celery import Celery
from kombu.exceptions import KombuError

from backend.core.beats import fresh_keys
from backend.studio.context import Studio
from backend.tables.job import JobKind, Missing

WAKE = "studio.wake"
_WORKER_KEY = "studio:worker:{}"
_BEAT_TTL_SECONDS = 15


class JobQueue(StrEnum):
    """train: what takes hours and a GPU. light: all else, so that a recording never waits for a training."""

    TRAIN = "train"
    LIGHT = "light"

    @property
    def key(self) -> str:
        """Celery's name of the queue, and of the list in the broker."""
        return f"studio.{self.value}"

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        return tuple(kind for kind in JobKind if queue_of(kind) is self)


def queue_of(kind: JobKind) -> JobQueue:
    return JobQueue.TRAIN if kind is JobKind.TRAIN else JobQueue.LIGHT


_QUEUES = frozenset(queue.value for queue in JobQueue)


@dataclass(frozen=True, kw_only=True)
class LiveWorker:
    """One `studio worker` that somebody started, whatever number of processes it has."""

    name: str
    queues: frozenset[JobQueue]


def beat(studio: Studio, name: str, queue: JobQueue) -> None:
    """Say that a worker serves a queue; every few seconds. Raises redis.RedisError."""
    studio.broker.set(_beat_key(name, queue), b"", ex=_BEAT_TTL_SECONDS)


def leave(studio: Studio, name: str, queue: JobQueue) -> None:
    """Say that it no longer does. Raises redis.RedisError."""
    studio.broker.delete(_beat_key(name, queue))


def live_workers(studio: Studio) -> list[LiveWorker]:
    """Workers heard from within the last seconds, by name. Raises redis.RedisError."""
    queues: dict[str, set[JobQueue]] = {}
    for key in fresh_keys(studio.broker, _WORKER_KEY.format("*"), seconds=_BEAT_TTL_SECONDS):
        name, _, queue = key.removeprefix(_WORKER_KEY.format("")).rpartition(":")
        if queue in _QUEUES:  # an older studio's worker calls itself otherwise
            queues.setdefault(name, set()).add(JobQueue(queue))
    return [LiveWorker(name=name, queues=frozenset(served)) for name, served in sorted(queues.items())]


def _beat_key(name: str, queue: JobQueue) -> str:
    return _WORKER_KEY.format(f"{name}:{queue.value}")


def missing_for(studio: Studio, queue: JobQueue) -> Missing | None:
    """What keeps the queued jobs of `queue` from being started for now; None if a worker serves it."""
    try:
        if any(queue in worker.queues for worker in live_workers(studio)):
            return None
    except redis.RedisError:
        return Missing.BROKER
    return Missing.TRAINING_WORKER if queue is JobQueue.TRAIN else Missing.WORKER


@lru_cache(maxsize=4)
def celery_app(broker_url: str) -> Celery:
    """The Celery application, for those who send wake-ups and those who hear them. broker_url as in Settings."""
    if broker_url.startswith("unix://"):  # redis-py's word for what kombu calls redis+socket
        broker_url = "redis+socket://" + broker_url.removeprefix("unix://")
    app = Celery("studio", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 3600,
            "socket_connect_timeout": 2.0,
            "socket_timeout": 10.0,
            "max_retries": 1,
        },
        task_default_queue=JobQueue.LIGHT.key,
    )
    return app


def wake(studio: Studio, job_id: str, kind: JobKind) -> None:
    """Best effort: what is lost here the reconciler sends again."""
    try:
        celery_app(studio.settings.broker_url).send_task(
            WAKE, args=(job_id,), queue=queue_of(kind).key, retry=False, ignore_result=True
        )
    except (KombuError, redis.RedisError, OSError):
        return


def waiting_calls(studio: Studio, queue: JobQueue) -> int:
    """Wake-ups that no worker has taken yet. Raises redis.RedisError."""
    count = studio.broker.llen(queue.key)
    assert isinstance(count, int)
    return count
