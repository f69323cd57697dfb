"""Jobs that bring episodes into a dataset."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind
from dexvla.spec import RecordSpec


class RecordPayload(Payload):
    """Scripted demonstrations into a dataset. labelled: keep the expert's own substeps as proposals."""

    dataset_id: str
    spec: RecordSpec
    labelled: bool = True


class ImportPayload(Payload):
    """folder: absolute, below an import root; every *.hdf5 (or *.h5) in it, subfolders included. instruction: of the
    files that have none."""

    dataset_id: str
    folder: str
    instruction: str = ""


register(JobKind.RECORD, RecordPayload)
register(JobKind.IMPORT, ImportPayload)
