"""Jobs as the page sees them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from backend.core.paging import PageIn
from backend.core.schemas import Out
from backend.tables.job import JobKind, JobState


class JobSort(StrEnum):
    """title: in any case. kind: by its name here, and by time within it."""

    CREATED = "created"
    TITLE = "title"
    KIND = "kind"


class JobsIn(PageIn):
    """search: in the title and the name of whoever asked for it. active: only jobs that are not over."""

    sort: JobSort = JobSort.CREATED
    descending: bool = True
    kind: JobKind | None = None
    state: JobState | None = None
    subject_id: str | None = Field(None, max_length=32)
    active: bool = False


class JobOut(Out):
    """done of total: what the kind counts (episodes, steps). queue_position: 1 is next; None unless queued.

    seconds_left: an estimate from the progress so far. cause: why it is in this state, in words for people.
    """

    id: str
    kind: JobKind
    title: str
    subject_id: str | None
    state: JobState
    cause: str | None
    attempt: int
    done: int
    total: int | None
    note: str
    result: dict[str, Any] | None
    owner: str | None
    created_at: datetime
    started_at: datetime | None
    progress_at: datetime | None
    finished_at: datetime | None
    queue_position: int | None = None
    seconds_left: float | None = None
    created_by_name: str | None = None


class LogChunk(Out):
    """Part of a job's log. offset: of `text`, bytes; next_offset: ask from there for more; size: of the whole log."""

    text: str
    offset: int
    next_offset: int
    size: int = Field(ge=0)
