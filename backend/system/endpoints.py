"""/api/health."""

from fastapi import APIRouter

from backend.access.dependencies import Parts
from backend.system import service
from backend.system.schemas import Health

router = APIRouter(prefix="/api", tags=["system"])


@router.get("/health")
def get_health(studio: Parts) -> Health:
    """Public: says nothing about what the studio holds."""
    return service.health(studio)
