"""Labelling a dataset: its settings, vocabulary, who does what, and what came of it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from backend.core.limits import MAX_STEPS
from backend.core.roles import Role
from backend.core.schemas import Id, In, Out, Prose
from backend.labels.core.findings import FindingCode
from backend.labels.core.segments import FullLabelText, Instruction
from backend.labels.core.settings import MAX_ENTRIES
from backend.labels.drafts.schemas import MAX_EDIT
from backend.tables.bulk_change import ChangeKind
from backend.tables.document import Tier
from backend.tables.draft import WorkState
from backend.tables.episode import LabelState
from backend.tables.segment import Provenance


class LabellingPatch(In):
    """What is left out stays as it is."""

    review: bool | None = None
    reviewer_role: Role | None = None
    double_percent: float | None = Field(None, ge=0, le=100)
    plan_tier: bool | None = None
    short_seconds: float | None = Field(None, ge=0, le=60)
    long_seconds: float | None = Field(None, gt=0, le=3600)
    template: list[FullLabelText] | None = Field(None, max_length=MAX_ENTRIES)


# --- vocabulary -----------------------------------------------------------------------------------------------


class Example(In):
    """An example frame that shows what is meant: a step of an episode, of one camera or of all."""

    episode_id: str = Field(max_length=32)
    step: int = Field(ge=0, le=MAX_STEPS)
    camera: str | None = Field(None, max_length=64)


class EntryIn(In):
    text: FullLabelText
    description: Prose = Field("", max_length=4000)
    examples: list[Example] = Field([], max_length=12)


class VocabularyIn(In):
    """All entries in their order; the first nine have the digits 1 to 9. edit: as the page shows it."""

    tier: Tier = Tier.SUBSTEP
    edit: int = Field(ge=0, le=MAX_EDIT)
    entries: list[EntryIn] = Field(max_length=MAX_ENTRIES, fail_fast=True)

    @model_validator(mode="after")
    def _once(self) -> Self:
        texts = [entry.text for entry in self.entries]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is listed twice")
        return self


class ExampleOut(Out):
    """there: the episode is still there and has the step."""

    episode_id: str
    step: int
    camera: str | None
    there: bool


class EntryOut(Out):
    """digit: key 1 to 9, for the first nine. segments: of drafts and published labels as they are now."""

    text: str
    digit: int | None
    description: str
    examples: list[ExampleOut]
    segments: int


class VocabularyOut(Out):
    tier: Tier
    edit: int
    entries: list[EntryOut]
    strangers: list[str] = Field(description="Texts in use that the vocabulary does not have, most frequent first")


class RenameIn(In):
    """expected: from the preview; refused with 409 if the labels changed since."""

    tier: Tier = Tier.SUBSTEP
    old: FullLabelText
    new: FullLabelText
    expected: str | None = Field(None, max_length=64, description="`fingerprint` of the preview")

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.old == self.new:
            raise ValueError("the new text is the old one")
        return self


class RenamedEpisode(Out):
    """draft, published: how many segments change. held_by: somebody works on it right now, it would be refused."""

    episode_id: str
    number: int
    draft: int
    published: int
    held_by: str | None


class RenamePreview(Out):
    """merges: the new text is in the vocabulary or in use already, and the two become one."""

    tier: Tier
    old: str
    new: str
    episodes: list[RenamedEpisode]
    segments: int
    merges: bool
    in_template: bool
    fingerprint: str


# --- bulk edits -----------------------------------------------------------------------------------------------


class SkippedOut(Out):
    episode_id: str
    number: int
    reason: str


class ChangeOut(Out):
    id: str
    kind: ChangeKind
    created_at: datetime
    by_name: str | None
    parameters: dict[str, Any]
    episodes: int
    undone_at: datetime | None
    undone_by_name: str | None


class AlignedOut(Out):
    """How a template fits the boundaries that an episode's motion suggests. expected: boundaries of the template;
    found: sure ones of the motion; guessed: of the template's, how many lie where the motion suggests none. mismatch:
    what is wrong with the numbers, for people; None: they agree."""

    episode_id: str
    number: int
    expected: int
    found: int
    guessed: int
    mismatch: str | None


class ChangeResult(Out):
    """change: None where nothing changed. aligned: of a template that was put onto motions."""

    change: ChangeOut | None
    changed: int
    skipped: list[SkippedOut]
    aligned: list[AlignedOut] = Field([])


class FactsIn(In):
    """Instruction, outcome or both, of many episodes. preview: only count what would change."""

    episode_ids: list[Id] | None = Field(None, min_length=1, max_length=5000, description="None: all")
    instruction: Instruction | None = None
    outcome: Literal["success", "failure", "unknown"] | None = None
    preview: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.instruction is None and self.outcome is None:
            raise ValueError("give an instruction, an outcome, or both")
        return self


class ApplyTemplateIn(In):
    """Propose the texts in this order on episodes that nobody labelled yet; every segment waits for a person.

    texts: default is the dataset's template. episode_ids: default all. align: with the boundaries that each motion
    suggests, for at most 200 episodes at a time; otherwise in parts of equal length.
    """

    tier: Tier = Tier.SUBSTEP
    texts: list[FullLabelText] | None = Field(None, min_length=1, max_length=MAX_ENTRIES)
    episode_ids: list[Id] | None = Field(None, min_length=1, max_length=10_000, fail_fast=True)
    align: bool = False
    preview: bool = False


# --- work -----------------------------------------------------------------------------------------------------


class WorkOut(Out):
    """A draft as a piece of work. double: the second, blind labels of the episode."""

    episode_id: str
    dataset_id: str
    dataset_name: str
    number: int
    instruction: str
    steps: int
    seconds: float | None
    tier: Tier
    rater: int
    double: bool
    state: WorkState
    label_state: LabelState
    edit: int
    segments: int
    assignee_id: str | None
    assignee_name: str | None
    submitted_by_name: str | None
    submitted_at: datetime | None
    updated_at: datetime | None
    holder_name: str | None = Field(description="Who works on it right now")
    open_notes: int
    may_review: bool


class NextIn(In):
    tier: Tier = Tier.SUBSTEP
    count: int = Field(20, ge=1, le=200)


class AssignIn(In):
    """user_id None: take them back. Drafts that somebody works on, or that are submitted, are skipped."""

    tier: Tier = Tier.SUBSTEP
    rater: int = Field(0, ge=0, le=1)
    user_id: str | None = Field(max_length=32)
    episode_ids: list[Id] = Field(min_length=1, max_length=10_000, fail_fast=True)


class AssignOut(Out):
    assigned: list[WorkOut]
    skipped: list[SkippedOut]


class Queue(StrEnum):
    """mine: given to me and not submitted. review: submitted, and I may review it. all: everything."""

    MINE = "mine"
    REVIEW = "review"
    ALL = "all"


class PersonOut(Out):
    id: str
    name: str
    role: Role


# --- finding --------------------------------------------------------------------------------------------------


class SegmentFound(Out):
    """index: of the segment in its draft. text_before, text_after: of its neighbours."""

    episode_id: str
    number: int
    tier: Tier
    rater: int
    state: WorkState
    label_state: LabelState
    index: int
    start: int
    end: int
    seconds: float | None
    text: str
    provenance: Provenance
    source: str | None
    confidence: float | None
    annotator_id: str | None
    annotator_name: str | None
    warnings: list[FindingCode]


# --- figures --------------------------------------------------------------------------------------------------


class TierCoverage(Out):
    """episodes, steps and seconds of the dataset; by_state counts episodes."""

    tier: Tier
    episodes: int
    steps: int
    by_state: dict[WorkState, int]
    published_episodes: int
    published_steps: int
    labelled_steps: int = Field(description="Steps with a text, in the drafts as they are now")
    segments: int


class LabelCount(Out):
    text: str
    in_vocabulary: bool
    segments: int
    episodes: int
    steps: int
    median_steps: float


class DayCount(Out):
    day: str
    submitted: int
    published: int


class DoubleCoverage(Out):
    wanted: int
    assigned: int
    submitted: int


class CoverageOut(Out):
    dataset_id: str
    tiers: list[TierCoverage]
    labels: list[LabelCount]
    findings: dict[FindingCode, int]
    provenance: dict[Provenance, int] = Field(description="Segments with a text, by where it came from")
    quality: dict[str, int]
    success: dict[str, int] = Field(description='Episodes: "yes", "no", "unknown"')
    tags: dict[str, int]
    double: DoubleCoverage
    days: list[DayCount] = Field(description="The last 30 days on which something happened, UTC")


class BoundaryScore(Out):
    """Boundaries of the one found by the other within +- tolerance steps, each used once."""

    tolerance: int
    precision: float
    recall: float
    f1: float


class PairAgreement(Out):
    """Two people's labels of an episode. kappa: Cohen's, over steps."""

    episode_id: str
    number: int
    tier: Tier
    first_id: str | None
    first_name: str | None
    second_id: str | None
    second_name: str | None
    steps: int
    boundaries: list[BoundaryScore]
    kappa: float
    same_steps: float = Field(description="Share of steps with the same text")


class AgreementOut(Out):
    """Over all doubly labelled episodes: boundaries pooled, steps pooled. None: there are none yet."""

    pairs: list[PairAgreement]
    boundaries: list[BoundaryScore] | None
    kappa: float | None
    rejection_rate: float | None = Field(description="Rejections among all reviews")
    edit_rate: float | None = Field(description="Machine proposals that were edited, among those accepted or edited")


class PersonFigures(Out):
    """Of one person in the time asked for. rates None: nothing to divide by. f1_10, f1_25, kappa: with the other
    person, over the episodes that two people labelled."""

    user_id: str | None
    name: str
    submitted: int
    published: int
    approved: int
    rejected: int
    reviews: int
    segments: int
    steps: int
    rejection_rate: float | None
    edit_rate: float | None
    doubles: int
    f1_10: float | None
    f1_25: float | None
    kappa: float | None
    last_active: datetime | None


# --- labels alone ---------------------------------------------------------------------------------------------

LabelFormat = Literal["json", "csv", "elan"]


class ImportLabelsIn(In):
    """Labels of episodes of this dataset, as one of the formats of the export; matched by number (and identity).

    They become drafts with provenance `imported`; publishing stays with people. preview: nothing is changed.
    """

    format: LabelFormat
    tier: Tier = Tier.SUBSTEP
    content: str = Field(min_length=1, max_length=20_000_000)
    episode: int | None = Field(None, ge=0, le=2**31 - 1, description="Number of the episode, where the rows name none")
    overwrite: bool = Field(False, description="Also replace labels that are there")
    preview: bool = False
