"""Versions of datasets, which trainings use and which never change."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class DatasetVersion(Identified, Base):
    """A manifest: episodes and their labels as they were. The file lies at DataFolder.manifest(id)."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    number: Mapped[int]
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    episodes: Mapped[int]
    steps: Mapped[int] = mapped_column(BigInteger)
    labelled_steps: Mapped[int] = mapped_column(BigInteger)
    cameras: Mapped[list[Any]]
    action_dim: Mapped[int]
    state_dim: Mapped[int]
    note: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str | None] = mapped_column(String(32))
    episode_ids: Mapped[list[Any]]
