"""`studio robot` on the studio's own machine: a robot host whose store is the database and the broker themselves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import redis
from sqlalchemy.exc import SQLAlchemyError

from backend.core.errors import ApiError, InvalidError, NotFoundError
from backend.core.settings import Settings
from backend.robot_hosts import service as hosting
from backend.robots import presence, service
from backend.robots.token import host_token
from backend.studio.context import Studio
from dexvla.live.hosting import DatasetFacts
from dexvla.live.status import HostStatus
from worker.robot import main
from worker.robot.plugged import DEFAULT_ROBOT
from worker.robot.settings import HostSettings
from worker.robot.store import AwayError, FinishedRecording, RefusedError

_ANSWER_SECONDS = 0.5  # of the broker


def run(
    settings: Settings,
    *,
    name: str = "aloha-sim",
    port: int = 0,
    robot: str = DEFAULT_ROBOT,
    options: Mapping[str, Any] = MappingProxyType({}),
    task: str = "",
) -> None:
    """As `worker.robot.main.run`; the tables must be there. settings.robot_address: HOST:PORT of a host in another
    container, which shares the data folder."""
    store = StudioStore(settings, name=name)
    host = HostSettings(
        folder=settings.folder.robots,
        logs=settings.folder.logs,
        token=store.token,
        address=settings.robot_address,
        policy_servers=settings.policy_servers,
    )
    try:
        main.run(host, store, name=name, port=port, robot=robot, options=options, task=task)
    finally:
        store.close()


class StudioStore:
    """A `worker.robot.store.Store` on a studio's database, broker and data folder."""

    def __init__(self, settings: Settings, *, name: str) -> None:
        self._studio = Studio.open(settings)
        self._name = name
        self.token = host_token(settings.folder.secrets, name)
        self._broker = redis.Redis.from_url(
            settings.events_url,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            health_check_interval=0,
        )

    def announce(self, *, kind: str, address: str, status: HostStatus) -> str:
        try:
            with self._studio.db.transaction() as db:
                service.announce(db, self._studio, name=self._name, kind=kind, address=address, status=status)
        except SQLAlchemyError as error:
            raise AwayError("the database is away") from error
        return self.token

    def withdraw(self, *, address: str) -> None:
        try:
            with self._studio.db.transaction() as db:
                service.withdraw(db, self._studio, name=self._name, address=address)
        except SQLAlchemyError as error:
            raise AwayError("the database is away") from error

    def sign(self, status: HostStatus) -> None:
        presence.sign(self._studio, self._name, status)

    def unsign(self) -> None:
        presence.withdraw(self._studio, self._name)

    def trouble(self) -> str | None:
        try:
            self._broker.ping()
        except (redis.RedisError, OSError):
            return hosting.BROKER_AWAY
        return None

    def dataset(self, dataset_id: str) -> DatasetFacts | None:
        try:
            return hosting.dataset_facts(self._studio, dataset_id)
        except SQLAlchemyError as error:
            raise AwayError("the database is away") from error

    def hand_in(self, recording: FinishedRecording) -> str:
        try:
            return hosting.take_in(self._studio, recording.file, dataset_id=recording.dataset_id, by=recording.by)
        except (InvalidError, NotFoundError) as error:
            raise RefusedError(str(error)) from error
        except SQLAlchemyError as error:
            raise AwayError("the database is away") from error
        except ApiError as error:
            raise AwayError(str(error)) from error

    def close(self) -> None:
        self._broker.close()
        self._studio.close()
