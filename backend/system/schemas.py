"""Health."""

from typing import Literal

from backend.schemas import Out


class Health(Out):
    """database and broker: "ok", or what is wrong with them."""

    status: Literal["ok", "degraded"]
    version: str
    database: str
    broker: str
    workers: int
    robots: int
