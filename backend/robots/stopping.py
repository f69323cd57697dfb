"""Stop and re-arming: the host hears first, nothing that could wait comes before it, and the answer says what is so.

Who asks is taken from a copy in memory (backend.studio.directory). Only somebody whom the copy does not know is looked
for in the database, for a moment; if it is away a stop with something that looks like a sign-in of ours is carried out
all the same, because to hold is the safe side. Audit log and event are written afterwards (backend.core.ledger).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from starlette.requests import HTTPConnection

from backend.access.identify import note_use
from backend.audit.service import record
from backend.core.db import new_id, utc_now
from backend.core.errors import ApiError, ConflictError, ForbiddenError, InvalidError, NotFoundError, NotSignedInError
from backend.core.http_wire import Wire, connect
from backend.core.ledger import Ledger, Written, not_yet
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.robots.host_client import HostAwayError
from backend.robots.schemas import RobotOut
from backend.robots.token import hosts_secret, token_under
from backend.studio.context import Studio
from backend.studio.directory import AnnouncedRobot, AwayError, credential_of, given_by
from backend.studio.events import publish
from dexvla.live.status import ArmIn, HostStatus, StopIn

ANSWER_SECONDS = 0.22  # from the request to an answer, whatever it is
_LOOK_SECONDS = 0.1  # for somebody, or a robot, that the copy in memory does not know
_SECOND_SECONDS = 0.08  # without an answer: once more, on a connection of its own
_TRIES_AT_ONCE = 3
_AGAIN_SECONDS = 0.03  # to look where a host is that was not reached, and between two tries
_GO_ON_SECONDS = 5.0  # a stop that was not confirmed goes on being tried
_NOTE_SECONDS = 0.012  # how long the audit log may take to be in the answer, while it is not known to be slow
_ARM_SECONDS = 2.0
PRESENT = timedelta(seconds=6)  # three announcements missed
_OURS = re.compile(r"(dvs_)?[A-Za-z0-9_-]{43}")  # of a cookie or a token as we make them
_UNCHECKED = Actor(id="", name="somebody whose sign-in could not be checked", role=Role.VIEWER)
_MOST_ANSWER = 256 * 1024

_Answer = tuple[int, bytes]  # status and content


class HostLine:
    """Connections to robot hosts for requests that are short. keep: one each is kept for the next request; only where
    there is one event loop from the first request to the last."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._idle: dict[str, Wire] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def ask(self, address: str, path: str, token: str, body: bytes, *, fresh: bool = False) -> tuple[int, bytes]:
        """POST; status and content. Raises OSError. fresh: on a connection that is new."""
        wire = None if fresh else self._idle.pop(address, None)
        if wire is None or not wire.open:
            wire = await connect(address)
        try:
            headers = [
                (b"host", address.encode()),
                (b"authorization", f"Bearer {token}".encode()),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            wire.send(b"POST", path.encode(), headers, body)
            status, _ = await wire.head()
            content, more = await wire.read()
            while more and len(content) < _MOST_ANSWER:
                piece, more = await wire.read()
                content += piece
        except BaseException:
            wire.close()
            raise
        before = self._idle.pop(address, None)
        if before is not None:
            before.close()
        if self._keep and wire.reusable:
            self._idle[address] = wire
        else:
            wire.close()
        return status, content

    async def insist(
        self,
        address: str,
        path: str,
        token: str,
        body: bytes,
        *,
        seconds: float,
        elsewhere: Callable[[], Awaitable[str | None]],
    ) -> _Answer:
        """As `ask`, for what may be said twice: when no answer has come within a moment it is said again on a new
        connection, and the first answer counts. elsewhere: asked for the host's address where nothing was reached.

        Raises OSError when `seconds` are over; what was said goes on to its end.
        """
        deadline = time.monotonic() + seconds
        tasks = {self._begin(self.ask(address, path, token, body))}
        error: OSError = TimeoutError("no answer in time")
        failures = 0
        while (left := deadline - time.monotonic()) > 0:
            done, tasks = await asyncio.wait(
                tasks, timeout=min(left, _SECOND_SECONDS), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failed = task.exception()
                if failed is None:
                    return task.result()
                if not isinstance(failed, OSError):
                    raise failed
                error = failed
            if done:
                address = await elsewhere() or address
                failures += 1
                if failures > 1:  # the first may have been a kept connection that was closed
                    await asyncio.sleep(_AGAIN_SECONDS)
            if len(tasks) < _TRIES_AT_ONCE:
                tasks.add(self._begin(self.ask(address, path, token, body, fresh=True)))
        raise error

    def _begin(self, coroutine: "Coroutine[Any, Any, _Answer]") -> "asyncio.Task[_Answer]":
        """Goes on when who asked does not wait any more; a stop that is under way is to arrive."""
        task = asyncio.ensure_future(asyncio.wait_for(coroutine, _GO_ON_SECONDS))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for wire in self._idle.values():
            wire.close()
        self._idle.clear()


class Stopping:
    """Stop and re-arming of one application. `start` before the first request. keep: as of `HostLine`."""

    def __init__(self, studio: Studio, *, keep: bool = False) -> None:
        self._studio = studio
        self._line = HostLine(keep=keep)
        self._secret: str | None = None

    def start(self) -> None:
        """Reads the secret of the hosts, so that no stop has to."""
        self._secret = hosts_secret(self._studio.settings.folder.secrets)

    def close(self) -> None:
        self._line.close()

    async def stop(self, connection: HTTPConnection, name: str) -> RobotOut:
        """Latch the stop. Raises HostAwayError if the host has not confirmed it, within `ANSWER_SECONDS` in all."""
        began = time.monotonic()
        me = await self._who_stops(connection)
        robot = await self._robot(name, seconds=_LOOK_SECONDS)
        body = StopIn(by=me.name).model_dump_json().encode()
        left = max(0.05, ANSWER_SECONDS - (time.monotonic() - began))
        try:
            status = await self._tell(robot, "/stop", body, seconds=left)
        except OSError as error:
            self._write_down(me, "robot.stop", robot, confirmed=False)
            raise HostAwayError(
                f"The robot host of {name} does not answer ({robot.address}). This stop has NOT been confirmed: if the "
                "robot moves, use its own emergency stop. The studio goes on trying for a few seconds; the robot's "
                "state says when it is stopped."
            ) from error
        except ApiError as error:  # it answers, but not that it is stopped
            self._write_down(me, "robot.stop", robot, confirmed=False)
            raise HostAwayError(
                f"{error.message} This stop has NOT been confirmed: if the robot moves, use its own emergency stop."
            ) from error
        missing = [] if status.at_risk is None else [status.at_risk]
        if me is _UNCHECKED:
            missing.append("Who asked for this stop was not checked: the database does not answer.")
        entry, written = self._write_down(me, "robot.stop", robot, epoch=status.epoch)
        unwritten = await _not_yet(self._studio.ledger, written)
        note_use(self._studio, connection)
        return self._out(robot, status, missing + unwritten, entry if unwritten else None)

    async def arm(self, connection: HTTPConnection, name: str) -> RobotOut:
        """Release the latched stop, once: never said twice, because somebody may have pressed stop in between."""
        me = await self._who_arms(connection)
        robot = await self._robot(name, seconds=_ARM_SECONDS)
        body = ArmIn(by=me.name).model_dump_json().encode()
        try:
            asked = self._line.ask(robot.address, "/arm", self._token(robot), body, fresh=True)
            status = _status(name, *await asyncio.wait_for(asked, _ARM_SECONDS))
        except TimeoutError as error:
            raise HostAwayError(
                f"The robot host of {name} has not answered for {_ARM_SECONDS:.0f} s. Whether the robot is re-armed is "
                "not known: look at its state before you go near it."
            ) from error
        except OSError as error:
            raise HostAwayError(
                f"The robot host of {name} does not answer ({robot.address}); the robot is as it was."
            ) from error
        missing = [] if status.at_risk is None else [status.at_risk]
        entry, written = self._write_down(me, "robot.arm", robot, epoch=status.epoch)
        unwritten = await _not_yet(self._studio.ledger, written)
        note_use(self._studio, connection)
        return self._out(robot, status, missing + unwritten, entry if unwritten else None)

    # --- who asks, and where the robot is -----------------------------------------------------------------------------

    async def _who_stops(self, connection: HTTPConnection) -> Actor:
        credential, directory = credential_of(connection), self._studio.directory
        if credential is None:
            raise NotSignedInError("Sign in first.")
        me = directory.known(credential)
        if me is not None:
            return me
        try:
            me = await directory.find_actor(credential, seconds=_LOOK_SECONDS)
        except AwayError:
            if directory.away and _is_ours(connection):
                return _UNCHECKED
            raise HostAwayError(
                "Who asks could not be found out in time, so this stop has NOT been carried out: press again, and if "
                "the robot moves, use its own emergency stop."
            ) from None
        if me is None:
            raise NotSignedInError("Sign in first.")
        return me

    async def _who_arms(self, connection: HTTPConnection) -> Actor:
        """The database decides; while it is away, the copy."""
        credential, directory = credential_of(connection), self._studio.directory
        if credential is None:
            raise NotSignedInError("Sign in first.")
        try:
            me = await directory.find_actor(credential, seconds=_ARM_SECONDS)
        except AwayError:
            me = directory.known(credential)
            if me is None:
                raise HostAwayError(
                    "The database does not answer, so nobody can tell who asks; the robot stays stopped."
                ) from None
        if me is None:
            raise NotSignedInError("Sign in first.")
        if not me.role.allows(Role.OPERATOR):
            raise ForbiddenError(
                f"This needs the role {Role.OPERATOR.value}; you are {me.role.value}. Ask an administrator."
            )
        return me

    async def _robot(self, name: str, *, seconds: float) -> AnnouncedRobot:
        robot = self._studio.directory.robot(name)
        if robot is None:
            try:
                robot = await self._studio.directory.find_robot(name, seconds=seconds)
            except AwayError:
                raise HostAwayError(
                    f"The database does not answer, and where robot {name} is was not known before. This has NOT "
                    "reached it: use its own emergency stop."
                ) from None
        if robot is None:
            raise NotFoundError(f"There is no robot {name}; its host has ended or was never started.")
        return robot

    def _token(self, robot: AnnouncedRobot) -> str:
        if self._secret is None:
            self.start()
        assert self._secret is not None
        return token_under(self._secret, robot.name)

    async def _tell(self, robot: AnnouncedRobot, path: str, body: bytes, *, seconds: float) -> HostStatus:
        """Raises OSError where no answer came. A host that was started again is somewhere else than the copy says."""

        async def elsewhere() -> str | None:
            try:
                newest = await self._studio.directory.find_robot(robot.name, seconds=_AGAIN_SECONDS)
            except AwayError:
                return None
            return None if newest is None else newest.address

        answer = await self._line.insist(
            robot.address, path, self._token(robot), body, seconds=seconds, elsewhere=elsewhere
        )
        return _status(robot.name, *answer)

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _write_down(self, me: Actor, action: str, robot: AnnouncedRobot, **detail: Any) -> tuple[str, Written]:
        """The entry's id, and when it is in the audit log."""
        now, entry = utc_now(), new_id()
        actor = None if me is _UNCHECKED else me
        if actor is None:
            detail["by"] = me.name
        return entry, self._studio.ledger.write(
            lambda db: record(db, actor, action, robot.name, at=now, entry_id=entry, **detail),
            then=lambda: publish(self._studio, "robot", robot.name),
        )

    def _out(self, robot: AnnouncedRobot, status: HostStatus, missing: list[str], entry: str | None) -> RobotOut:
        ago = self._studio.directory.seconds_ago(robot)
        return RobotOut(
            name=robot.name,
            kind=robot.kind,
            present=ago < PRESENT.total_seconds(),
            seen_at=robot.seen_at,
            status=status,
            not_recorded=missing,
            audit_entry=entry,
        )


async def _not_yet(ledger: Ledger, written: Written) -> list[str]:
    if not ledger.slow:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(written)), _NOTE_SECONDS)
    return not_yet(written, seconds=0)


def _is_ours(connection: HTTPConnection) -> bool:
    return _OURS.fullmatch(given_by(connection) or "") is not None


_ERRORS: dict[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 422: InvalidError}


def _status(name: str, code: int, content: bytes) -> HostStatus:
    if code != 200:
        raise _ERRORS.get(code, HostAwayError)(f"{name}: the robot host answered with an error ({code}).")
    try:
        return HostStatus.model_validate_json(content)
    except ValidationError as error:
        raise HostAwayError(
            f"What answers in the place of the robot host of {name} is not one: restart the host."
        ) from error


def stopping_of(connection: HTTPConnection) -> Stopping:
    stopping: Stopping = connection.app.state.stopping
    return stopping
