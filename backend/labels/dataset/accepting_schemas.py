"""Labels that files brought, as they are looked at and accepted."""

from pydantic import Field

from backend.core.schemas import Id, In, Out
from backend.labels.core.segments import SegmentOut
from backend.labels.dataset.schemas import SkippedOut


class ImportedEpisodeOut(Out):
    """An episode to look at. segments: as its file brought them."""

    episode_id: str
    number: int
    steps: int
    instruction: str
    cameras: list[str]
    segments: list[SegmentOut]


class TextCountOut(Out):
    text: str
    segments: int


class ImportedLabelsOut(Out):
    """episodes: whose labels can be accepted at once. to_look_at: how many of them somebody has to open before.

    sample: spread over them. texts: the most frequent. skipped: those that have imported labels and cannot be accepted.
    """

    episodes: int
    to_look_at: int
    fingerprint: str = Field(description="Of the episodes and their drafts; accepting names it")
    sample: list[ImportedEpisodeOut]
    texts: list[TextCountOut]
    skipped: list[SkippedOut]


class AcceptImportedIn(In):
    """looked_at: the episodes that whoever accepts has opened."""

    fingerprint: str = Field(max_length=64)
    looked_at: list[Id] = Field(min_length=1, max_length=10_000)
