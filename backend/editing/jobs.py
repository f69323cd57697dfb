"""The job of an edit."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind


class EditPayload(Payload):
    edit_id: str


register(JobKind.EDIT, EditPayload)
