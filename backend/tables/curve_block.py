"""Buckets of runs' curves: what a page reads of many points."""

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base


class CurveBlock(Base):
    """Sixteen buckets of sixteen ** level points each, see backend.training.buckets.

    Derived from metric_points, which are the truth. Blocks of a level follow each other without a gap from the run's
    first point on; `number` counts them. first_step, last_step: of the points in it. names: of the curves, `data` in
    their order.
    """

    __tablename__ = "curve_blocks"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    level: Mapped[int] = mapped_column(primary_key=True)
    last_step: Mapped[int] = mapped_column(primary_key=True)
    first_step: Mapped[int]
    number: Mapped[int]
    names: Mapped[list[str]] = mapped_column(JSON)
    data: Mapped[bytes]
