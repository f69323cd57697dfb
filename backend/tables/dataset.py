"""Datasets: episodes that belong together."""

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class Dataset(Identified, Base):
    """Episodes that belong together. Dimensions, cameras and rate are those of the first episode; all others agree.

    vocabulary: substep texts in the order of their digits 1 .. 9; plan_vocabulary: of the second tier. guideline: what
    the entries mean, {tier: {text: {"description", "examples": [{"episode_id", "step"}]}}}. vocabulary_edit counts the
    changes of the three. labelling: backend.labels.core.settings.Labelling, where it differs from its defaults.
    """

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(128), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str | None] = mapped_column(String(32))
    action_dim: Mapped[int | None]
    state_dim: Mapped[int | None]
    fps: Mapped[float | None]
    cameras: Mapped[list[Any]] = mapped_column(default=list)
    render_profile: Mapped[str | None] = mapped_column(String(32))
    vocabulary: Mapped[list[Any]] = mapped_column(default=list)
    plan_vocabulary: Mapped[list[Any]] = mapped_column(default=list)
    guideline: Mapped[dict[str, Any]] = mapped_column(default=dict)
    vocabulary_edit: Mapped[int] = mapped_column(default=0)
    labelling: Mapped[dict[str, Any]] = mapped_column(default=dict)
    next_number: Mapped[int] = mapped_column(default=0)
