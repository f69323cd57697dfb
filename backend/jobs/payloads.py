"""What a job is to do, one frozen model a kind; stored as JSON in Job.payload."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from backend.jobs.models import Job, JobKind
from dexvla.spec import RecordSpec


class Payload(BaseModel):
    """Made by the service that queues the job, read by its handler on a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordPayload(Payload):
    """Scripted demonstrations into a dataset. labelled: keep the expert's own substeps as proposals."""

    dataset_id: str
    spec: RecordSpec
    labelled: bool = True


class ImportPayload(Payload):
    """folder: absolute, below an import root; every *.hdf5 in it, subfolders included."""

    dataset_id: str
    folder: str


class InitModelPayload(Payload):
    """A small base model with random weights, to become the registered model `model_id`."""

    model_id: str
    name: str
    preset: str = "tiny"
    seed: int = Field(0, ge=0)


class TrainPayload(Payload):
    run_id: str


class EvaluatePayload(Payload):
    evaluation_id: str


class PreflightPayload(Payload):
    """spec: a whole TrainSpec, with the paths of this machine."""

    spec: dict[str, object]


P = TypeVar("P", bound=Payload)

PAYLOADS: dict[JobKind, type[Payload]] = {
    JobKind.RECORD: RecordPayload,
    JobKind.IMPORT: ImportPayload,
    JobKind.INIT_MODEL: InitModelPayload,
    JobKind.PREFLIGHT: PreflightPayload,
    JobKind.TRAIN: TrainPayload,
    JobKind.EVALUATE: EvaluatePayload,
}


def payload_of(job: Job, kind: type[P]) -> P:
    """The job's payload. Raises pydantic.ValidationError for one that another version of the studio wrote."""
    return kind.model_validate(job.payload)
