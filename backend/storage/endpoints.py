"""/api/storage: the disk, and files without rows."""

from fastapi import APIRouter

from backend.access.dependencies import Admin, Parts
from backend.storage import service
from backend.storage.schemas import StorageOut

router = APIRouter(prefix="/api/storage", tags=["storage"])


@router.get("")
def get_storage(me: Admin, studio: Parts) -> StorageOut:
    return service.storage(studio, studio.found)


@router.post("/adopt", status_code=202)
def adopt_strays(me: Admin, studio: Parts) -> StorageOut:
    """Take episode files without a row into the dataset "Recovered", give versions, runs and checkpoints rows again.

    In the background.
    """
    service.begin_adopting(studio, me, studio.found)
    return service.storage(studio, studio.found)


@router.post("/lose")
def lose_strays(me: Admin, studio: Parts) -> StorageOut:
    """Move everything without a row to lost/, where it is kept for 30 days."""
    service.lose_found(studio, me, studio.found)
    return service.storage(studio, studio.found)
