"""Kinds of jobs. What a job is to do is one frozen model a kind, stored as JSON in Job.payload; each kind is registered
by the domain that queues it, so that jobs know of no domain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from backend.tables.job import Job, JobKind


class Payload(BaseModel):
    """Made by the service that queues the job, read by its handler on a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """payload: what a job of this kind is told. before_resume(db, job_id) raises ConflictError where it cannot go
    on."""

    payload: type[Payload]
    before_resume: Callable[[Session, str], None] | None = None


_KINDS: dict[JobKind, Kind] = {}


def register(
    kind: JobKind, payload: type[Payload], *, before_resume: Callable[[Session, str], None] | None = None
) -> None:
    """Said once, by the domain that queues such jobs, when it is imported."""
    assert kind not in _KINDS, f"{kind} is registered already"
    _KINDS[kind] = Kind(payload=payload, before_resume=before_resume)


def kind_of(kind: JobKind) -> Kind:
    return _KINDS[kind]


def payload_of(job: Job, kind: type[P]) -> P:
    """The job's payload. Raises pydantic.ValidationError for one that another version of the studio wrote."""
    return kind.model_validate(job.payload)
