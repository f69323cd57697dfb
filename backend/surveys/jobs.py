"""The job that measures episodes."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind


class MeasurePayload(Payload):
    """Every episode of the dataset that was not measured yet."""

    dataset_id: str


register(JobKind.MEASURE, MeasurePayload)
