"""Robots that a robot host has announced."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base


class RobotRow(Base):
    """Renewed by its host every few seconds; one that stops doing so counts as away.

    address: host:port at which the API asks the host. status: what the host last said of itself.
    """

    __tablename__ = "robots"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(128))
    seen_at: Mapped[datetime]
    status: Mapped[dict[str, Any]] = mapped_column(default=dict)
