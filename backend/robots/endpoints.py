"""/api/robots: who is there, what they see, and the stop that anyone signed in may press."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from backend.access.dependencies import Db, Parts, Viewer
from backend.robots import service
from backend.robots.kinds import kinds
from backend.robots.schemas import RobotKindOut, RobotOut
from backend.robots.stopping import stopping_of

router = APIRouter(prefix="/api/robots", tags=["robots"])
stop_router = APIRouter(prefix="/api/robots", tags=["robots"])  # what the gateway answers itself


@router.get("")
def list_robots(db: Db, studio: Parts, me: Viewer) -> list[RobotOut]:
    return service.robots(db, studio)


@router.get("/kinds")
def list_kinds(me: Viewer) -> list[RobotKindOut]:
    """Robots that set up tasks, for demonstrations and evaluations; also of plug-ins. The first is the default."""
    return list(kinds())


@stop_router.post("/{name}/stop")
async def stop_robot(connection: Request, name: str) -> RobotOut:
    """Latched: the robot holds until an operator re-arms it. Anyone signed in may press it. Waits for no database."""
    return await stopping_of(connection).stop(connection, name)


@stop_router.post("/{name}/arm")
async def arm_robot(connection: Request, name: str) -> RobotOut:
    """Release the latched stop: the robot may be commanded again. Operators."""
    return await stopping_of(connection).arm(connection, name)


@router.get("/{name}/picture/{camera}", response_class=Response)
def get_robot_frame(me: Viewer, studio: Parts, name: str, camera: Annotated[str, Path(max_length=64)]) -> Response:
    """The newest frame of a camera, JPEG, at most a quarter of a second old. Cameras rest while nobody asks."""
    return service.frame(studio, name, camera)
