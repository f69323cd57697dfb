"""Which robots are there, and their frames. The robots themselves belong to robot hosts, which are asked here. Stop and
re-arming are in `stopping`."""

from datetime import datetime

from sqlalchemy.orm import Session
from starlette.responses import Response

from backend.core.db import database_now
from backend.core.errors import NotFoundError, UnavailableError
from backend.robots import presence, repository
from backend.robots.host_client import HostClient
from backend.robots.schemas import RobotOut
from backend.robots.stopping import PRESENT
from backend.robots.token import host_token
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.robot import RobotRow
from dexvla.live.status import HostStatus

# --- what hosts tell ----------------------------------------------------------------------------------------------


def announce(db: Session, studio: Studio, *, name: str, kind: str, address: str, status: HostStatus) -> None:
    """A host says that its robot is there; repeated every two seconds. The newest host of a name is the one."""
    now = database_now(db)
    row = repository.by_name(db, name)
    before = None if row is None else (row.address, row.status.get("state"), row.status.get("epoch"))
    if row is None:
        row = RobotRow(name=name)
        db.add(row)
    row.kind, row.address, row.status = kind, address, status.model_dump(mode="json")
    row.seen_at = now
    if before != (address, str(status.state), status.epoch):
        publish_after_commit(db, studio, "robot", name)


def withdraw(db: Session, studio: Studio, *, name: str, address: str) -> None:
    """A host ends in order: its robot leaves the list, unless another host has taken the name over."""
    row = repository.by_name(db, name)
    if row is not None and row.address == address:
        db.delete(row)
        publish_after_commit(db, studio, "robot", name)


# --- what people ask ----------------------------------------------------------------------------------------------


def robots(db: Session, studio: Studio) -> list[RobotOut]:
    now = database_now(db)
    return [_out(studio, row, now) for row in repository.all_robots(db)]


def frame(studio: Studio, name: str, camera: str) -> Response:
    robot, host = host_of(studio, name)
    names = [known.name for known in robot.status.cameras]
    if names and camera not in names:
        raise NotFoundError(f"{name} has no camera {camera}; it has {', '.join(names)}.")
    if not robot.present:
        raise UnavailableError(f"The robot host of {name} has not been heard from since {robot.seen_at:%H:%M:%S} UTC.")
    return Response(host.frame(camera), media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def host_of(studio: Studio, name: str) -> tuple[RobotOut, HostClient]:
    """Robot `name` and how to ask its host. Raises NotFoundError.

    Read in a transaction of its own, over before the host is asked: it takes no lock and keeps no connection.
    """
    with studio.db.transaction(write=False) as db:
        row = repository.by_name(db, name)
        if row is None:
            raise NotFoundError(f"There is no robot {name}; its host has ended or was never started.")
        robot = _out(studio, row, database_now(db))
        address = row.address
    return robot, HostClient(name=name, address=address, token=host_token(studio.settings.folder.secrets, name))


def _out(studio: Studio, row: RobotRow, now: datetime) -> RobotOut:
    """Where the row was not renewed in time, the host's sign in the broker counts."""
    status = HostStatus.model_validate(row.status)
    if repository.was_seen(row.seen_at, now, within=PRESENT):
        return RobotOut(name=row.name, kind=row.kind, present=True, seen_at=row.seen_at, status=status)
    heard = presence.signed(studio, row.name)
    return RobotOut(
        name=row.name,
        kind=row.kind,
        present=heard is not None,
        seen_at=row.seen_at if heard is None else now,
        status=heard or status,
    )
