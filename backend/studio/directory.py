"""Who may ask, where the robots are and what our own address is: a copy in memory of a few small tables.

For what must not wait for the database: a stop. A thread reads the tables again every second; while the database is
away the last copy goes on to be believed. Everything else asks the database itself.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from backend.core.db import Database, database_now, utc_now
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.identity.credentials import api_token, session_cookie
from backend.identity.secrets import token_hash
from backend.studio import directory as directory_
from backend.tables.api_token import ApiToken
from backend.tables.login_session import LoginSession
from backend.tables.robot import RobotRow
from backend.tables.setting import Setting
from backend.tables.user import User

KEY = "public_url"


log = logging.getLogger("studio.directory")

_EVERY_SECONDS = 1.0
_STALE_SECONDS = 5.0  # without a reading: the database is away
_LOOKS = 16  # threads that may wait for the database at once

T = TypeVar("T")


class AwayError(Exception):
    """The database does not answer in time."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Whom a cookie or a token belongs to. expires_at: None for tokens."""

    actor: Actor
    expires_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True, kw_only=True)
class AnnouncedRobot:
    """A robot as its host last announced it. seen_ago: seconds before the copy was made."""

    name: str
    kind: str
    address: str
    seen_at: datetime
    seen_ago: float
    status: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """taken: time.monotonic()."""

    people: dict[str, Known] = field(default_factory=dict)
    robots: dict[str, AnnouncedRobot] = field(default_factory=dict)
    public_url: str | None = None
    taken: float = float("-inf")


class Directory:
    """`start` makes the first copy, if the database is there, and keeps it fresh until `close`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._copy = _Copy()
        self._lock = threading.Lock()  # of changes to the copy beside its thread
        # who and what was looked for since the last copy began to be made, and when
        self._found_people: dict[str, tuple[float, Known | None]] = {}
        self._found_robots: dict[str, tuple[float, AnnouncedRobot]] = {}
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="directory", daemon=True)
        self._looks = threading.BoundedSemaphore(_LOOKS)
        self.on_refresh: Callable[[], None] = lambda: None

    # --- what it knows, at once -----------------------------------------------------------------------------------

    @property
    def filled(self) -> bool:
        """Whether there is a copy at all."""
        return self._copy.taken > float("-inf")

    @property
    def taken(self) -> float:
        """When the copy began to be made, by time.monotonic()."""
        return self._copy.taken

    @property
    def away(self) -> bool:
        """Whether the database has not answered for some seconds."""
        return time.monotonic() - self._copy.taken > _STALE_SECONDS

    @property
    def public_url(self) -> str | None:
        """As set in the page."""
        return self._copy.public_url

    def take_public_url(self, url: str | None) -> None:
        """It was just set."""
        with self._lock:
            self._copy = replace(self._copy, public_url=url)

    def known(self, credential: str) -> Actor | None:
        """credential: sha256 of a cookie or a token."""
        found = self._copy.people.get(credential)
        return found.actor if found is not None and found.holds(utc_now()) else None

    def robot(self, name: str) -> AnnouncedRobot | None:
        return self._copy.robots.get(name)

    def seconds_ago(self, robot: AnnouncedRobot) -> float:
        """How long ago its host was heard from, by the database's clock."""
        return robot.seen_ago + max(0.0, time.monotonic() - self._copy.taken)

    # --- what it asks the database for, bounded ---------------------------------------------------------------------

    async def find_actor(self, credential: str, *, seconds: float) -> Actor | None:
        """From the database. Raises AwayError if it does not answer within `seconds`."""
        asked = time.monotonic()  # a copy that began later has read what is newer: a person may be disabled by then
        found = await self._look(lambda db: _person(db, credential), seconds)
        with self._lock:
            self._found_people[credential] = asked, found
            self._copy = replace(self._copy, people=_with(self._copy.people, {credential: found}))
        return None if found is None else found.actor

    async def find_robot(self, name: str, *, seconds: float) -> AnnouncedRobot | None:
        """From the database, and known from then on. Raises AwayError if it does not answer within `seconds`."""
        found = await self._look(lambda db: _robots(db, name).get(name), seconds)
        if found is not None:
            with self._lock:
                self._found_robots[name] = time.monotonic(), found
                self._copy = replace(self._copy, robots=_with(self._copy.robots, {name: found}))
        return found

    async def newest_robot(self, name: str, *, seconds: float) -> AnnouncedRobot | None:
        """From the database, or from the copy if it does not answer within `seconds`."""
        try:
            return await self.find_robot(name, seconds=seconds)
        except AwayError:
            return self.robot(name)

    async def _look(self, read: Callable[[Session], T], seconds: float) -> T:
        if not self._looks.acquire(blocking=False):
            raise AwayError
        future: Future[T] = Future()

        def look() -> None:
            try:
                with self._db.transaction(write=False) as db:
                    future.set_result(read(db))
            except BaseException as error:  # handed to who waits, as concurrent.futures does
                future.set_exception(error)
            finally:
                self._looks.release()

        # A daemon: a database that hangs must not keep this process from ending.
        threading.Thread(target=look, name="look", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), seconds)
        except (TimeoutError, SQLAlchemyError) as error:
            raise AwayError from error

    # --- keeping it fresh -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._refresh()
        self._thread.start()

    def hurry(self) -> None:
        """Something changed: read it now."""
        self._wake.set()

    def close(self) -> None:
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(_EVERY_SECONDS)
            self._wake.clear()
            if not self._ended:
                try:
                    self._refresh()
                except Exception:  # such as a row that this version cannot read: the copy would never change again
                    log.exception("who may ask cannot be read; it is taken from the last copy")

    def _refresh(self) -> None:
        began = time.monotonic()
        try:
            with self._db.transaction(write=False) as db:
                copy = _Copy(
                    people=_people(db),
                    robots=_robots(db),
                    public_url=_public_url(db),
                    taken=began,
                )
        except SQLAlchemyError as error:
            if not self.away:
                log.warning("the database is away; who may ask is taken from the last copy: %s", error)
            return
        with self._lock:  # whoever was found meanwhile may have come after this copy was read
            self._found_people = _since(self._found_people, began)
            self._found_robots = _since(self._found_robots, began)
            people = _with(copy.people, {key: found for key, (_, found) in self._found_people.items()})
            robots = _with(copy.robots, {key: found for key, (_, found) in self._found_robots.items()})
            self._copy = replace(copy, people=people, robots=robots)
        self.on_refresh()


def _since(found: dict[str, tuple[float, T]], began: float) -> dict[str, tuple[float, T]]:
    return {key: one for key, one in found.items() if one[0] > began}


def _with(known: Mapping[str, T], newer: Mapping[str, T | None]) -> dict[str, T]:
    """None: it is not known any more."""
    together = {**known, **newer}
    return {key: one for key, one in together.items() if one is not None}


def given_by(connection: HTTPConnection) -> str | None:
    """The API token or the cookie with which somebody asks; a token goes before a cookie."""
    return api_token(connection) or session_cookie(connection) or None


def credential_of(connection: HTTPConnection) -> str | None:
    """sha256 of what somebody asks with."""
    given = given_by(connection)
    return None if given is None else token_hash(given)


def _people(db: Session) -> dict[str, Known]:
    columns = (User.id, User.name, User.role)
    tokens = select(ApiToken.token_sha256, *columns).join(User).where(User.disabled.is_(False))
    sessions = (
        select(LoginSession.token_sha256, LoginSession.expires_at, *columns)
        .join(User)
        .where(LoginSession.expires_at > utc_now(), User.disabled.is_(False))
    )
    found = {row[0]: Known(actor=_actor(*row[1:])) for row in db.execute(tokens)}
    return found | {row[0]: Known(actor=_actor(*row[2:]), expires_at=row[1]) for row in db.execute(sessions)}


def _person(db: Session, credential: str) -> Known | None:
    columns = (User.id, User.name, User.role)
    token = select(*columns).join(ApiToken).where(ApiToken.token_sha256 == credential, User.disabled.is_(False))
    owner = db.execute(token).first()
    if owner is not None:
        return Known(actor=_actor(*owner))
    session = (
        select(LoginSession.expires_at, *columns)
        .join(User)
        .where(LoginSession.token_sha256 == credential, LoginSession.expires_at > utc_now(), User.disabled.is_(False))
    )
    row = db.execute(session).first()
    return None if row is None else Known(actor=_actor(*row[1:]), expires_at=row[0])


def _actor(id_: str, name: str, role: str) -> Actor:
    return Actor(id=id_, name=name, role=Role(role))


def _robots(db: Session, name: str | None = None) -> dict[str, AnnouncedRobot]:
    query = select(RobotRow.name, RobotRow.kind, RobotRow.address, RobotRow.seen_at, RobotRow.status)
    if name is not None:
        query = query.where(RobotRow.name == name)
    now = database_now(db)
    return {
        row.name: AnnouncedRobot(
            name=row.name,
            kind=row.kind,
            address=row.address,
            seen_at=row.seen_at,
            seen_ago=abs(now - row.seen_at.astimezone(UTC)).total_seconds(),  # to come: from before it was set back
            status=row.status,
        )
        for row in db.execute(query)
    }


def _public_url(db: Session) -> str | None:
    row = db.get(Setting, directory_.KEY)
    return None if row is None else row.value.get("url")
