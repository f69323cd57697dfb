"""Base models and pretrained experts that runs may start from."""

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class ModelKind(StrEnum):
    """backbone: a Qwen2-VL directory for stage 2. expert: a pretrained ScaleDP. policy: a checkpoint made elsewhere."""

    BACKBONE = "backbone"
    EXPERT = "expert"
    POLICY = "policy"


class RegisteredModel(Identified, Base):
    """path: absolute, below a model root or the studio's own models folder. info: sizes, architecture.

    files: sha256 and bytes by name, as registered; None for one of before sums were kept, until it is used.
    """

    __tablename__ = "registered_models"

    name: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[ModelKind] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    info: Mapped[dict[str, Any]] = mapped_column(default=dict)
    files: Mapped[dict[str, Any] | None]
    created_by: Mapped[str | None] = mapped_column(String(32))
