"""The job of an evaluation."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind


class EvaluatePayload(Payload):
    evaluation_id: str


register(JobKind.EVALUATE, EvaluatePayload)
