"""Chosen episodes with their labels in another tool's format, made by a job and kept for some days."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class Export(Identified, Base):
    """Its files lie at DataFolder.export(id) once they are whole. choice: which episodes were asked for.

    episode_ids: those that it holds. files, file_bytes: how many there are, and their bytes together; size_bytes,
    sha256: of the archive that is sent. 0 and None until it is made (finished_at). created_at is also the time that
    the archive's entries carry. One that goes elsewhere (destination) leaves no files with the studio and no archive.
    """

    __tablename__ = "exports"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    job_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(160))
    format: Mapped[str] = mapped_column(String(32))
    choice: Mapped[dict[str, Any]]
    episode_ids: Mapped[list[Any]]
    steps: Mapped[int]
    created_by: Mapped[str | None] = mapped_column(String(32))
    created_by_name: Mapped[str | None] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]
    files: Mapped[int] = mapped_column(default=0)
    file_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str | None] = mapped_column(String(64))
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    # {"kind": "archive"}, or {"kind": "folder" | "s3", "name": as the administrator calls it}
    destination: Mapped[dict[str, Any]] = mapped_column(default=lambda: {"kind": "archive"})
    deleted_at: Mapped[datetime | None]
    deleted_why: Mapped[str | None] = mapped_column(String(64))
