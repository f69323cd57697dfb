"""The job that makes a small base model."""

from pydantic import Field

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind


class InitModelPayload(Payload):
    """A small base model with random weights, to become the registered model `model_id`."""

    model_id: str
    name: str
    preset: str = "tiny"
    seed: int = Field(0, ge=0)


register(JobKind.INIT_MODEL, InitModelPayload)
