"""Exports: which episodes, in which format, and what became of them."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from backend.core.schemas import Id, In, Out
from backend.jobs.schemas import JobOut

MAX_TAGS = 50


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class Labelled(StrEnum):
    """Whether an episode has published labels."""

    ANY = "any"
    LABELLED = "labelled"
    UNLABELLED = "unlabelled"


class ExportChoice(In):
    """Which episodes of a dataset. Everything that is said must hold.

    outcomes: one of them; empty: all. published_by: a person's id. tags: all of these.
    """

    version_id: Id | None = Field(None, description="A version's episodes and labels; none: as they are now")
    labels: Labelled = Labelled.ANY
    outcomes: list[Outcome] = Field(default_factory=list, max_length=len(Outcome))
    published_by: Id | None = Field(None, description="Who published the episode's newest labels")
    tags: list[str] = Field(default_factory=list, max_length=MAX_TAGS)


class DestinationKind(StrEnum):
    """archive: to be downloaded. folder, s3: a place that the administrator of the machine configured."""

    ARCHIVE = "archive"
    FOLDER = "folder"
    S3 = "s3"


class DestinationIn(In):
    kind: DestinationKind = DestinationKind.ARCHIVE
    name: str | None = Field(None, max_length=256, description="Of a folder or an S3 place")


class DestinationOut(Out):
    """landed: the folder that it became there, once it is made."""

    kind: DestinationKind
    name: str | None
    landed: str | None = None


class ExportIn(In):
    format: str = Field(max_length=32, description="A name of GET /api/exports/formats")
    choice: ExportChoice = Field(default_factory=ExportChoice)
    destination: DestinationIn = Field(
        default_factory=DestinationIn, description="One of GET /api/exports/destinations; default: an archive"
    )


class Purpose(StrEnum):
    """What a format is mostly for: to train on elsewhere, or to look at."""

    TRAIN = "train"
    LOOK = "look"


class FormatOut(Out):
    name: str
    title: str
    readers: str = Field(description="Who reads it, in a sentence or two")
    purpose: Purpose


class PersonOut(Out):
    id: str
    name: str


class PreviewOut(Out):
    """What a choice comes to. seconds: None if the rate of an episode is not known. size_bytes: of our files.

    people, tags: what there is to choose from, of the whole dataset.
    """

    episodes: int
    labelled: int
    steps: int
    seconds: float | None
    size_bytes: int
    people: list[PersonOut]
    tags: list[str]


class ExportOut(Out):
    """files, size_bytes, sha256: of the archive, once it is made. expires_at: when it is removed by itself.

    One with another destination has no archive and no sha256: its files are there, and stay when this is removed.
    """

    id: str
    dataset_id: str
    name: str
    format: str
    title: str = Field(description="Of the format")
    choice: ExportChoice
    version_number: int | None
    episodes: int
    steps: int
    created_at: datetime
    created_by_name: str | None
    finished_at: datetime | None
    expires_at: datetime | None
    files: int
    size_bytes: int
    sha256: str | None
    warnings: list[str]
    destination: DestinationOut
    job: JobOut | None
