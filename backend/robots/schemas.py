"""Robots as the page sees them."""

from datetime import datetime

from pydantic import Field

from backend.core.schemas import Out
from dexvla.live.status import HostStatus
from dexvla.spec.fields import TaskDescription


class RobotKindOut(Out):
    """A robot that sets up tasks, as it is registered in this installation. title: for people.

    recovers: whether its demonstrations can show recoveries.
    """

    name: str
    title: str
    recovers: bool
    tasks: list[TaskDescription]


class RobotOut(Out):
    """present: its host was heard from within the last seconds. status: what the host last said."""

    name: str
    kind: str
    present: bool
    seen_at: datetime
    status: HostStatus
    not_recorded: list[str] = Field(
        default_factory=list,
        description="Of what this request did: what could not be written down, in sentences to be shown",
    )
    audit_entry: str | None = Field(
        None,
        description="Where the last of them is about the audit log: the entry's id, for GET /api/audit/{id}/written",
    )
