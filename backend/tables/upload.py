"""Files that are being uploaded into a dataset, in pieces that survive a broken connection."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified, utc_now


class UploadKind(StrEnum):
    """episodes: each file is an HDF5 episode and taken in by itself. folder: files that only together say something (a
    LeRobot dataset, videos beside a table); they wait for an import."""

    EPISODES = "episodes"
    FOLDER = "folder"


class UploadState(StrEnum):
    """uploading -> received -> taken_in | already_there | refused, or staged where the upload is a folder.

    already_there: the dataset has an episode of the same content. What a refused file had sent is removed.
    """

    UPLOADING = "uploading"
    RECEIVED = "received"
    TAKEN_IN = "taken_in"
    ALREADY_THERE = "already_there"
    REFUSED = "refused"
    STAGED = "staged"

    @property
    def over(self) -> bool:
        """Whether nothing happens to the file any more by itself."""
        return self not in {UploadState.UPLOADING, UploadState.RECEIVED}


class Upload(Identified, Base):
    """Files that somebody sends together. instruction: for those that have none of their own. touched_at: when bytes
    last came (to the hour); it is forgotten STUDIO_UPLOAD_DAYS later."""

    __tablename__ = "uploads"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    kind: Mapped[UploadKind] = mapped_column(EnumText(UploadKind))
    instruction: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str | None] = mapped_column(String(32), index=True)
    created_by_name: Mapped[str | None] = mapped_column(String(64))
    touched_at: Mapped[datetime] = mapped_column(default=utc_now)


class UploadedFile(Identified, Base):
    """Its bytes lie at DataFolder.staged(upload_id) / id until they are taken in; how many there are, that file says.

    path: as the sender named it, with folders; never a path of ours. received: bytes when it was last written down.
    is_episode: by its name. sha256: what the sender says, then what was found.
    message, errors: why it was refused, or what it waits for.
    """

    __tablename__ = "uploaded_files"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    path: Mapped[str] = mapped_column(String(1024))
    size: Mapped[int] = mapped_column(BigInteger)
    is_episode: Mapped[bool]
    sha256: Mapped[str | None] = mapped_column(String(64))
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[UploadState] = mapped_column(EnumText(UploadState), index=True, default=UploadState.UPLOADING)
    received_at: Mapped[datetime | None]
    message: Mapped[str | None] = mapped_column(Text)
    errors: Mapped[list[Any]] = mapped_column(default=list)
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    episode_id: Mapped[str | None] = mapped_column(String(32))
