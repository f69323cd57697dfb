"""What people made of proposals."""

from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified
from backend.tables.proposal import ProposalSource


class Verdict(StrEnum):
    """edited: taken with another text or another boundary."""

    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"


class ProposalVerdict(Identified, Base):
    """What somebody made of one proposed boundary (end None) or substep. Only ever added to.

    tenth: of the confidence, 0 .. 9, for counting; None where there was none.
    """

    __tablename__ = "suggestion_verdicts"  # this name and a column's are stored, and older than the word proposal
    __table_args__ = (Index("ix_suggestion_verdicts_dataset_id_source", "dataset_id", "source"),)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"), index=True)
    proposal_id: Mapped[str | None] = mapped_column("suggestion_id", String(32))
    source: Mapped[ProposalSource] = mapped_column(EnumText(ProposalSource))
    verdict: Mapped[Verdict] = mapped_column(EnumText(Verdict))
    confidence: Mapped[float | None]
    tenth: Mapped[int | None]
    start: Mapped[int]
    end: Mapped[int | None]
    text: Mapped[str | None] = mapped_column(Text)
    by_id: Mapped[str | None] = mapped_column(String(32))
