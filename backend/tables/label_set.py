"""Labels as pages ask for them: beside the documents of drafts and revisions, in columns that have indexes.

Nobody writes these two tables by hand: backend.tables.label_writing does, with every draft and revision.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText
from backend.tables.document import Quality, Tier
from backend.tables.draft import WorkState
from backend.tables.label_text import LabelText
from backend.tables.segment import Provenance

PUBLISHED = -1
FORMER = -2


class LabelSet(Base):
    """One person's labels of an episode, or the published ones, in short.

    layer: the draft's rater, or PUBLISHED for the newest revision. Of a deleted episode the published ones are left, as
    FORMER: what follows what is learnt from them too. edit: of the draft, or the number of the revision. person: whose
    labels they are. tags: JSON. parts: segments; texts: those with a text; labelled_steps: of these; accepted, edited:
    segments that a machine proposed and a person took or changed. misfit: they end where the episode doesn't. chance: a
    hash that decides which episodes are labelled twice.
    """

    __tablename__ = "label_sets"
    __table_args__ = (
        UniqueConstraint("episode_id", "tier", "layer"),
        Index("ix_label_sets_number", "dataset_id", "tier", "number", "layer"),
        Index("ix_label_sets_state", "dataset_id", "tier", "layer", "state", "number"),
        Index("ix_label_sets_chance", "dataset_id", "tier", "layer", "chance"),
        Index("ix_label_sets_assignee", "assignee_id", "tier", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(32), ForeignKey("datasets.id", ondelete="CASCADE"))
    episode_id: Mapped[str] = mapped_column(String(32), ForeignKey("episodes.id", ondelete="CASCADE"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    layer: Mapped[int]
    number: Mapped[int]
    steps: Mapped[int]
    edit: Mapped[int]
    state: Mapped[WorkState | None] = mapped_column(EnumText(WorkState))
    assignee_id: Mapped[str | None] = mapped_column(String(32))
    submitted_by: Mapped[str | None] = mapped_column(String(32))
    person: Mapped[str | None] = mapped_column(String(32))
    updated_at: Mapped[datetime | None]
    success: Mapped[bool | None]
    quality: Mapped[Quality | None] = mapped_column(EnumText(Quality))
    tags: Mapped[str] = mapped_column(Text)
    parts: Mapped[int]
    texts: Mapped[int]
    labelled_steps: Mapped[int]
    accepted: Mapped[int]
    edited: Mapped[int]
    misfit: Mapped[bool]
    chance: Mapped[str] = mapped_column(String(16))


class SetSegment(Base):
    """A segment of a LabelSet. layer: the set's. before_id: text of the segment before it. length: steps.

    first: the set has this text nowhere before. The second index answers whole pages without the table.
    """

    __tablename__ = "label_set_segments"
    __table_args__ = (
        Index("ix_label_set_segments_length", "text_id", "layer", "length"),
        Index("ix_label_set_segments_about", "text_id", "layer", "before_id", "provenance", "length", "first"),
        {"sqlite_with_rowid": False},
    )

    set_id: Mapped[int] = mapped_column(ForeignKey(LabelSet.id, ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text_id: Mapped[int] = mapped_column(ForeignKey(LabelText.id, ondelete="CASCADE"))
    before_id: Mapped[int | None]
    layer: Mapped[int]
    length: Mapped[int]
    provenance: Mapped[Provenance] = mapped_column(EnumText(Provenance))
    first: Mapped[bool]
