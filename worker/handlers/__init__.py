"""The handlers of all kinds of jobs. Each is imported when it is needed: a runner loads its own kind only."""

from importlib import import_module

from backend.jobs.models import JobKind
from worker.handlers.base import Handler

_HANDLERS = {
    JobKind.RECORD: "worker.handlers.record:RecordHandler",
    JobKind.IMPORT: "worker.handlers.importing:ImportHandler",
    JobKind.INIT_MODEL: "worker.handlers.init_model:InitModelHandler",
    JobKind.PREFLIGHT: "worker.handlers.preflight:PreflightHandler",
    JobKind.TRAIN: "worker.handlers.train:TrainHandler",
    JobKind.EVALUATE: "worker.handlers.evaluate:EvaluateHandler",
}


def handler_of(kind: JobKind) -> Handler:
    """A new handler of a kind."""
    module, name = _HANDLERS[kind].split(":")
    handler: Handler = getattr(import_module(module), name)()
    return handler
