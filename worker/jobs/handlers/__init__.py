"""The handlers of all kinds of jobs. Each is imported when it is needed: a runner loads its own kind only."""

from importlib import import_module

from backend.tables.job import JobKind
from worker.jobs.handlers.base import Handler

_HANDLERS = {
    JobKind.RECORD: "worker.jobs.handlers.record:RecordHandler",
    JobKind.IMPORT: "worker.jobs.handlers.importing:ImportHandler",
    JobKind.MEASURE: "worker.jobs.handlers.measuring:MeasureHandler",
    JobKind.INIT_MODEL: "worker.jobs.handlers.init_model:InitModelHandler",
    JobKind.PREFLIGHT: "worker.jobs.handlers.preflight:PreflightHandler",
    JobKind.TRAIN: "worker.jobs.handlers.train:TrainHandler",
    JobKind.EVALUATE: "worker.jobs.handlers.evaluate:EvaluateHandler",
    JobKind.EXPORT: "worker.jobs.handlers.export:ExportHandler",
    JobKind.EDIT: "worker.jobs.handlers.edit:EditHandler",
}


def handler_of(kind: JobKind) -> Handler:
    """A new handler of a kind."""
    module, name = _HANDLERS[kind].split(":")
    handler: Handler = getattr(import_module(module), name)()
    return handler
