"""The job of an export."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind

MANIFEST = "manifest.json"  # in the job's folder: the chosen episodes with their labels


class ExportPayload(Payload):
    export_id: str
    format: str


register(JobKind.EXPORT, ExportPayload)
