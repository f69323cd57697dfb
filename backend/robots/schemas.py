"""Robots as the page sees them."""

from datetime import datetime
from typing import Any

from pydantic import Field

from backend.schemas import Out


class RobotOut(Out):
    """present: its host was heard of within the last seconds. status: what the host said: state, cameras, rates."""

    name: str
    kind: str
    present: bool
    seen_at: datetime
    status: dict[str, Any] = Field(description="state: holding | stopped; cameras; tick_hz")
