"""/api/robot-hosts/{name}: what the host of a robot on another machine asks, with its key. See dexvla.live.hosting.

Not in the API's description, since nobody else can use it. Nothing here needs a person to be signed in.
"""

from functools import partial
from typing import Annotated

import redis
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.requests import HTTPConnection
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from backend.access.dependencies import Parts
from backend.core.errors import ConflictError, InvalidError, NotFoundError, NotSignedInError, UnavailableError
from backend.core.turns import GONE
from backend.intake.upload import while_wanted
from backend.robot_hosts import keys, receive, service
from backend.robots import presence
from backend.robots import service as robots
from backend.robots.token import host_token
from dexvla.live.hosting import (
    PIECE_BYTES,
    ROBOT_NAME,
    Announcement,
    DatasetFacts,
    HandedIn,
    Handover,
    Received,
    Welcome,
)
from dexvla.live.status import HostStatus
from dexvla.live.version import PROTOCOL

router = APIRouter(prefix="/api/robot-hosts/{name}", include_in_schema=False)


def _host(connection: HTTPConnection, studio: Parts, name: Annotated[str, Path(pattern=f"^{ROBOT_NAME}$")]) -> str:
    if not keys.opens(studio.settings.folder.secrets, name, connection.headers.get("authorization", "")):
        raise NotSignedInError(
            f"This is not the key of robot {name}. Make a new one where the studio runs, with: studio robot-key {name}"
        )
    return name


Host = Annotated[str, Depends(_host)]
Recording = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.put("/announcement")
def announce(name: Host, studio: Parts, body: Announcement) -> Welcome:
    if body.protocol != PROTOCOL:
        raise ConflictError(
            f"The host of robot {name} speaks version {body.protocol} of the protocol, this studio version {PROTOCOL}: "
            "install the same version on both machines."
        )
    with studio.db.transaction() as db:
        robots.announce(db, studio, name=name, kind=body.kind, address=body.address, status=body.status)
    return Welcome(token=host_token(studio.settings.folder.secrets, name))


@router.delete("/announcement", status_code=204)
def withdraw(name: Host, studio: Parts, address: Annotated[str, Query(max_length=128)]) -> None:
    presence.withdraw(studio, name)
    with studio.db.transaction() as db:
        robots.withdraw(db, studio, name=name, address=address)


@router.put("/sign", status_code=204)
def sign(name: Host, studio: Parts, body: HostStatus) -> None:
    presence.sign(studio, name, body)


@router.get("/studio", status_code=204)
def whole(name: Host, studio: Parts) -> None:
    try:
        studio.broker.ping()
    except (redis.RedisError, OSError) as error:
        raise UnavailableError(service.BROKER_AWAY) from error


@router.get("/datasets/{dataset_id}")
def dataset(name: Host, studio: Parts, dataset_id: Annotated[str, Path(max_length=64)]) -> DatasetFacts:
    facts = service.dataset_facts(studio, dataset_id)
    if facts is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return facts


@router.post("/recordings/{recording}")
def begin(name: Host, studio: Parts, recording: Recording, body: Handover) -> Received:
    return receive.begin(studio, name, recording, body)


@router.patch("/recordings/{recording}")
async def add(
    name: Host,
    studio: Parts,
    request: Request,
    recording: Recording,
    offset: Annotated[int, Query(ge=0, lt=2**53)],
) -> Received:
    try:
        piece = await request.body()
    except ClientDisconnect:
        raise InvalidError(GONE) from None
    if len(piece) > PIECE_BYTES:
        raise InvalidError(f"A piece of {len(piece)} bytes; at most {PIECE_BYTES} are taken at once.")
    return await run_in_threadpool(receive.add, studio, name, recording, offset, piece)


@router.post("/recordings/{recording}/end")
async def end(name: Host, studio: Parts, request: Request, recording: Recording, body: Handover) -> HandedIn:
    return await while_wanted(studio, request, partial(receive.end, studio, name, recording, body))
