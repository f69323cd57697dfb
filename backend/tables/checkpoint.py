"""Checkpoints that runs have saved."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class Checkpoint(Identified, Base):
    """Directory DataFolder.run(run_id)/checkpoints/step-N. files: [{"name", "size", "sha256"}] in the archive's order.

    info: what its manifest says of its making; info["mtime"] is the time that the archive's entries carry.
    deleted_at: its files are gone (by a person, or because the run keeps the newest only); the row stays for lineage.
    A step that is trained again after that, by a later attempt, is another row.
    """

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("run_id", "step", "attempt"),
        Index("ix_checkpoints_created_at_id", "created_at", "id"),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    step: Mapped[int]
    stage: Mapped[int]
    attempt: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[list[Any]]
    archive_sha256: Mapped[str] = mapped_column(String(64))
    val_loss: Mapped[float | None]
    info: Mapped[dict[str, Any]] = mapped_column(default=dict)
    deleted_at: Mapped[datetime | None]
    deleted_why: Mapped[str | None] = mapped_column(String(64))
