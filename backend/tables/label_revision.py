"""Labels that were published."""

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified
from backend.tables.document import Document, Tier


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
