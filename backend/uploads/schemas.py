"""Uploads: what is announced, and how far each file is."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from backend.core.limits import MAX_INSTRUCTION
from backend.core.schemas import In, Out
from backend.tables.upload import UploadKind, UploadState
from dexvla.spec import ImportProfile

MAX_FILES = 20_000  # of one upload

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class UploadFileIn(In):
    """path: relative, folders separated by /. sha256: of the whole file; without it the studio has nothing to compare
    with."""

    path: str = Field(max_length=1024)
    size: int = Field(ge=0, lt=2**53)
    sha256: Sha256 | None = None


class UploadIn(In):
    """Files that belong together: episodes, or all files of one folder."""

    files: list[UploadFileIn] = Field(min_length=1, max_length=MAX_FILES)
    instruction: str = Field("", max_length=MAX_INSTRUCTION, description="For episodes that have none of their own")
    look_first: bool = Field(
        False, description="HDF5 files too wait for an import, which shows them and asks what they do not say"
    )


class DigestIn(In):
    sha256: Sha256
    restart: bool = Field(False, description="What was sent of another file of this name and size is given up")


class UploadFileOut(Out):
    """received: bytes that are there. url: where the rest is sent to, by tus. message, errors: why it was refused, or
    what it waits for. episode_id, episode_number: what became of it, or which has been there before."""

    id: str
    upload_id: str
    path: str
    size: int
    received: int
    sha256: str | None
    state: UploadState
    message: str | None
    errors: list[str]
    warnings: list[str]
    episode_id: str | None
    episode_number: int | None
    url: str


class UploadOut(Out):
    """kind: episodes are taken in as they come; a folder of another format, or what is to be looked at
    first, waits for an import. counts: files by state.
    mine: whether the one who asks may go on with it. expires_at: when it is forgotten unless more of it comes."""

    id: str
    dataset_id: str
    created_at: datetime
    created_by_name: str | None
    mine: bool
    kind: UploadKind
    instruction: str
    files: int
    episode_files: int = Field(description="Files whose names end like an HDF5 file's")
    size_bytes: int
    received_bytes: int
    counts: dict[UploadState, int]
    expires_at: datetime


class UploadDetail(UploadOut):
    items: list[UploadFileOut]


class UploadImportIn(In):
    profile: ImportProfile = Field(
        ImportProfile(), description="What the files do not say, as `dexvla import` takes it"
    )


class UploadPreviewIn(UploadImportIn):
    episode: str | None = Field(None, max_length=512, description="Its name in the folder; empty: the first")
