"""Jobs that bring episodes into a dataset."""

from backend.jobs.kinds import Payload, register
from backend.tables.job import JobKind
from dexvla.spec import ImportProfile, RecordSpec


class RecordPayload(Payload):
    """Scripted demonstrations into a dataset. labelled: keep the expert's own substeps as proposals."""

    dataset_id: str
    spec: RecordSpec
    labelled: bool = True


class ImportPayload(Payload):
    """folder: absolute, chosen by the server: below an import root, or what was uploaded; its subfolders too.

    instruction: of the episodes that the profile leaves without; jobs of an older studio have it alone.
    """

    dataset_id: str
    folder: str
    instruction: str = ""
    profile: ImportProfile = ImportProfile()

    @property
    def whole_profile(self) -> ImportProfile:
        text = self.profile.instruction or self.instruction or None
        return self.profile.model_copy(update={"instruction": text})


register(JobKind.RECORD, RecordPayload)
register(JobKind.IMPORT, ImportPayload)
