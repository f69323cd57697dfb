"""Health."""

from typing import Literal

from backend.core.schemas import Out


class Health(Out):
    """database, broker, disk and store: "ok", or what is wrong with them. store: where episodes and checkpoints are."""

    status: Literal["ok", "degraded"]
    version: str
    database: str
    broker: str
    disk: str
    store: str
    workers: int
    robots: int
