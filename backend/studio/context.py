"""What a request works with: settings, database, broker. Made once an application."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import redis
from starlette.requests import HTTPConnection

from backend.core.background import Background
from backend.core.db import Database
from backend.core.ledger import Ledger
from backend.core.settings import Settings
from backend.core.space import Found, Space
from backend.core.turns import Turns
from backend.identity.access_watch import AccessWatch
from backend.identity.hashing import PasswordHashing
from backend.identity.rate_limit import Devices, SignInRateLimiter
from backend.store.base import Store
from backend.store.opening import open_store
from backend.store.watch import StoreWatch

if TYPE_CHECKING:
    from backend.studio.directory import Directory

_BROKER_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Studio:
    """The parts of one studio; also made by workers and commands, without an application."""

    settings: Settings
    db: Database
    broker: redis.Redis
    space: Space
    sign_in_limiter: SignInRateLimiter = field(default_factory=SignInRateLimiter)
    access_watch: AccessWatch = field(default_factory=AccessWatch)
    hashing: PasswordHashing = field(default_factory=PasswordHashing)
    inspections: Turns = field(default_factory=lambda: Turns(at_once=max(2, len(os.sched_getaffinity(0))), waiting=16))
    found: Found = field(default_factory=Found)
    background: Background = field(default_factory=lambda: Background(threads=2, waiting=8))
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ledger", Ledger(self.db))

    @cached_property
    def directory(self) -> "Directory":
        """Empty until somebody starts it."""
        from backend.studio.directory import Directory

        directory = Directory(self.db)
        self.access_watch.on_change = directory.hurry
        return directory

    @cached_property
    def store(self) -> Store:
        """Where episodes, checkpoints and exports are."""
        return open_store(self.settings)

    @cached_property
    def store_watch(self) -> StoreWatch:
        return StoreWatch(self.store)

    @cached_property
    def devices(self) -> Devices:
        return Devices(self.settings.folder.secrets)

    @classmethod
    def open(cls, settings: Settings) -> "Studio":
        broker = redis.Redis.from_url(
            settings.events_url, socket_connect_timeout=_BROKER_SECONDS, socket_timeout=_BROKER_SECONDS
        )
        space = Space(settings.folder)
        return cls(settings=settings, db=Database(settings.sql_url, on_full=space.give_up), broker=broker, space=space)

    def close(self) -> None:
        if "directory" in self.__dict__:
            self.directory.close()
        self.ledger.close()
        self.background.close()
        self.hashing.close()
        self.broker.close()
        self.db.close()


def studio_of(connection: HTTPConnection) -> Studio:
    studio: Studio = connection.app.state.studio
    return studio
