"""Labels: drafts that people edit, what became of them, and the revisions that were published from them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.db import Base, EnumText, Identified


class Tier(StrEnum):
    """substep: what the model is trained on. plan: a second text over the same steps, where a dataset has it."""

    SUBSTEP = "substep"
    PLAN = "plan"


class WorkState(StrEnum):
    """Of a draft: unassigned -> claimed -> in progress -> submitted -> approved or rejected -> reopened."""

    UNASSIGNED = "unassigned"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    REOPENED = "reopened"


class Quality(StrEnum):
    """Of an episode as training data, in a person's eyes."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    UNUSABLE = "unusable"


class HistoryKind(StrEnum):
    """Why a state of a draft was kept."""

    SAVED = "saved"
    TAKEN_OVER = "taken_over"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    REOPENED = "reopened"
    PUBLISHED = "published"
    RENAMED = "renamed"
    TEMPLATE = "template"
    IMPORTED = "imported"
    ROLLED_BACK = "rolled_back"
    UNDONE = "undone"


class ChangeKind(StrEnum):
    RENAME = "rename"
    TEMPLATE = "template"
    IMPORT = "import"


class Document:
    """Mixin: what people say about an episode.

    segments: [{"start", "end", "text", "provenance", "source", "confidence"}], half open, without gap or overlap over
    0 .. steps. Everything else counts in the tier `substep` of the first rater only. failure_step: where it went wrong.
    """

    segments: Mapped[list[Any]]
    instruction: Mapped[str] = mapped_column(Text)
    success: Mapped[bool | None]
    failure_step: Mapped[int | None]
    paraphrases: Mapped[list[Any]] = mapped_column(default=list)
    quality: Mapped[Quality | None] = mapped_column(EnumText(Quality))
    tags: Mapped[list[Any]] = mapped_column(default=list)


DOCUMENT = ("segments", "instruction", "success", "failure_step", "paraphrases", "quality", "tags")


LEASE_SECONDS = 90.0  # pages say every 20 s that they are there


class Draft(Document, Base):
    """`edit` counts the saves: a save that names another number than the stored one is refused.

    rater 0: the labels that are published; 1: a second person's, made without seeing the first's. lease_until: seconds
    of the database's clock; lease_token tells two pages of one person apart. contributors: ids of the people whose
    saves are in it since it was last approved; none of them may approve it.
    """

    __tablename__ = "drafts"
    __table_args__ = (Index("ix_drafts_assignee_id_state", "assignee_id", "state"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), primary_key=True)
    tier: Mapped[Tier] = mapped_column(EnumText(Tier), primary_key=True, default=Tier.SUBSTEP)
    rater: Mapped[int] = mapped_column(primary_key=True, default=0, autoincrement=False)
    edit: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]
    updated_by: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[WorkState] = mapped_column(EnumText(WorkState), default=WorkState.UNASSIGNED)
    assignee_id: Mapped[str | None] = mapped_column(String(32))
    assigned_at: Mapped[datetime | None]
    contributors: Mapped[list[Any]] = mapped_column(default=list)
    submitted_by: Mapped[str | None] = mapped_column(String(32))
    submitted_at: Mapped[datetime | None]
    kept_at: Mapped[datetime | None]  # newest entry of the history
    lease_holder: Mapped[str | None] = mapped_column(String(32))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[float | None]

    def held(self, now: float) -> bool:
        """Whether somebody works on it, by the database's clock. A lease that ends later than any can is from before
        that clock was set back, and says nothing until its page is heard again."""
        return self.lease_until is not None and now < self.lease_until <= now + LEASE_SECONDS


class LabelRevision(Identified, Document, Base):
    """Never changed after it was made. `edit`: the draft's count that it was published from."""

    __tablename__ = "label_revisions"
    __table_args__ = (UniqueConstraint("episode_id", "tier", "number"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), index=True)
    tier: Mapped[Tier] = mapped_column(EnumText(Tier), default=Tier.SUBSTEP)
    number: Mapped[int]
    edit: Mapped[int]
    published_by: Mapped[str | None] = mapped_column(String(32))
    published_by_name: Mapped[str | None] = mapped_column(String(64))
    restores: Mapped[int | None]  # number of the revision whose labels these are again


class LabelHistory(Identified, Document, Base):
    """A draft as it was at a moment that matters, and who did what then. Only ever added to."""

    __tablename__ = "label_history"
    __table_args__ = (Index("ix_label_history_episode_id_tier_rater", "episode_id", "tier", "rater"),)

    dataset_id: Mapped[str] = mapped_column(String(32), index=True)
    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    rater: Mapped[int]
    edit: Mapped[int]
    kind: Mapped[HistoryKind] = mapped_column(EnumText(HistoryKind))
    by_id: Mapped[str | None] = mapped_column(String(32), index=True)
    by_name: Mapped[str | None] = mapped_column(String(64))
    about_id: Mapped[str | None] = mapped_column(String(32))  # whose work was approved or rejected
    comment: Mapped[str] = mapped_column(Text, default="")


class ReviewNote(Identified, Base):
    """What somebody says about a stretch of steps of a draft; edit: of the draft that they looked at."""

    __tablename__ = "review_notes"
    __table_args__ = (Index("ix_review_notes_episode_id_tier_rater", "episode_id", "tier", "rater"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    rater: Mapped[int]
    edit: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str | None] = mapped_column(String(32))
    author_name: Mapped[str | None] = mapped_column(String(64))
    resolved_at: Mapped[datetime | None]
    resolved_by_name: Mapped[str | None] = mapped_column(String(64))


class BulkChange(Identified, Base):
    """One deed over many episodes, with what undoing it needs.

    parameters: of the deed. episodes: [{"episode_id", "tier", "edit", "before", "revision", "revision_before"}]: the
    draft's count after it, the history entry from before it, the published revisions after and before it.
    """

    __tablename__ = "bulk_changes"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    kind: Mapped[ChangeKind] = mapped_column(EnumText(ChangeKind))
    parameters: Mapped[dict[str, Any]]
    episodes: Mapped[list[Any]]
    by_id: Mapped[str | None] = mapped_column(String(32))
    by_name: Mapped[str | None] = mapped_column(String(64))
    undone_at: Mapped[datetime | None]
    undone_by_name: Mapped[str | None] = mapped_column(String(64))
