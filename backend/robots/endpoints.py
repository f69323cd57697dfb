"""/api/robots: who is there, what they see, and the stop that anyone signed in may press."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.access import Db, Operator, Parts, Viewer
from backend.robots import service
from backend.robots.schemas import RobotOut

router = APIRouter(prefix="/api/robots", tags=["robots"])


@router.get("")
def list_robots(db: Db, me: Viewer) -> list[RobotOut]:
    return service.robots(db)


@router.post("/{name}/stop")
def stop_robot(db: Db, me: Viewer, studio: Parts, name: str) -> RobotOut:
    """Latched: the robot holds until an operator re-arms it."""
    return service.stop(db, me, studio, name)


@router.post("/{name}/arm")
def arm_robot(db: Db, me: Operator, studio: Parts, name: str) -> RobotOut:
    """Release the latched stop: the robot may be commanded again."""
    return service.arm(db, me, studio, name)


@router.get("/{name}/picture/{camera}", response_class=Response)
def get_picture(me: Viewer, studio: Parts, name: str, camera: Annotated[str, Path(max_length=64)]) -> Response:
    """The newest picture of a camera, JPEG, at most a quarter of a second old. Cameras rest while nobody asks."""
    return service.picture(studio, name, camera)
