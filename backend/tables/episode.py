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
    """The file never changes; backend.episodes.files finds it. cameras: [{"name", "height", "width"}]."""

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
    # as the file names them, {"state_names": [...], "action_names": [...]}; None: by the robot, or by number
    dimension_names: Mapped[dict[str, Any] | None]
    sim: Mapped[bool]
    robot: Mapped[str | None] = mapped_column(String(64))
    task: Mapped[str | None] = mapped_column(String(64))
    seed: Mapped[int | None] = mapped_column(BigInteger)
    render_profile: Mapped[str | None] = mapped_column(String(32))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    # of the file's bytes; None where an older studio took it in and it never left the data folder
    sha256: Mapped[str | None] = mapped_column(String(64))
    source: Mapped[EpisodeSource] = mapped_column(String(16))
    original_name: Mapped[str | None] = mapped_column(String(256))
    # of the file as it was uploaded, so that the same one is known before it is sent again
    source_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    created_by: Mapped[str | None] = mapped_column(String(32))
    # what was assumed when it was taken in, in sentences: its file did not say it
    guesses: Mapped[list[Any]] = mapped_column(default=list)
    # hidden from lists, and its file kept for a while: what was edited into others or deleted can be brought back
    deleted_at: Mapped[datetime | None]
    freed_at: Mapped[datetime | None]  # since when its file is gone for good
    # what people may change; copied from the published revision
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    label_state: Mapped[LabelState] = mapped_column(String(16), default=LabelState.UNLABELLED)
    failure_step: Mapped[int | None]
    quality: Mapped[str | None] = mapped_column(String(16))
    tags: Mapped[list[Any]] = mapped_column(default=list)
    # of the labels that an older studio wrote into the file; 0: of an unknown one. None: the file is as it was taken in
    file_revision: Mapped[int | None]
