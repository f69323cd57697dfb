"""Jobs of a run: looking at it, and training it."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind
from backend.training.resuming import refuse_if_gone


class TrainPayload(Payload):
    run_id: str


class PreflightPayload(Payload):
    """spec: a whole TrainSpec, with the paths of the machine that was asked. request: the RunIn that it came from; None
    in a job of an older studio."""

    spec: dict[str, object]
    request: dict[str, object] | None = None


register(JobKind.PREFLIGHT, PreflightPayload)
register(JobKind.TRAIN, TrainPayload, before_resume=refuse_if_gone)
