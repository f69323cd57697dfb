"""Episodes: one file each, and what is known of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class EpisodeSource(StrEnum):
    """recorded: by a scripted expert, as a job. live: on the live page, a person driving or a policy acting."""

    RECORDED = "recorded"
    UPLOADED = "uploaded"
    IMPORTED = "imported"
    LIVE = "live"


class LabelState(StrEnum):
    """unlabelled: no text but perhaps proposals. draft: edited since the last publish, or never published."""

    UNLABELLED = "unlabelled"
    DRAFT = "draft"
    PUBLISHED = "published"


class EpisodeRow(Identified, Base):
    """The file lies at DataFolder.episode(dataset_id, id) and never changes. cameras: [{"name", "height", "width"}]."""

    __tablename__ = "episodes"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        # what lists of datasets and of labels count, without the rows
        Index("ix_episodes_totals", "dataset_id", "deleted_at", "label_state", "steps", "size_bytes"),
        Index("ix_episodes_steps", "dataset_id", "steps", "id"),
        Index("ix_episodes_created_at", "dataset_id", "created_at", "id"),
    )

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]
    identity: Mapped[str] = mapped_column(String(64), index=True)
    # what it was before colour order and sizes counted: older versions, checkpoints and label files know it by this
    former_identity: Mapped[str | None] = mapped_column(String(64), index=True)
    steps: Mapped[int]
    action_dim: Mapped[int]
    state_dim: Mapped[int]
    fps: Mapped[float | None]
    cameras: Mapped[list[Any]]
    sim: Mapped[bool]
    robot: Mapped[str | None] = mapped_column(String(64))
    task: Mapped[str | None] = mapped_column(String(64))
    seed: Mapped[int | None] = mapped_column(BigInteger)
    render_profile: Mapped[str | None] = mapped_column(String(32))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[EpisodeSource] = mapped_column(String(16))
    original_name: Mapped[str | None] = mapped_column(String(256))
    created_by: Mapped[str | None] = mapped_column(String(32))
    deleted_at: Mapped[datetime | None]
    # what people may change; copied from the published revision
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    label_state: Mapped[LabelState] = mapped_column(String(16), default=LabelState.UNLABELLED)
    failure_step: Mapped[int | None]
    quality: Mapped[str | None] = mapped_column(String(16))
    tags: Mapped[list[Any]] = mapped_column(default=list)
    # of the labels that an older studio wrote into the file; 0: of an unknown one. None: the file is as it was taken in
    file_revision: Mapped[int | None]
