"""Health."""

from typing import Literal

from backend.core.schemas import Out


class Health(Out):
    """database, broker and disk: "ok", or what is wrong with them."""

    status: Literal["ok", "degraded"]
    version: str
    database: str
    broker: str
    disk: str
    workers: int
    robots: int
