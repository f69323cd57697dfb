"""The texts that labels of a dataset say, once each."""

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText
from backend.tables.document import Tier


class LabelText(Base):
    """Segments name it by its number, see backend.tables.label_set. folded: without case, for searches."""

    __tablename__ = "label_texts"
    __table_args__ = (
        UniqueConstraint("dataset_id", "tier", "text"),
        Index("ix_label_texts_dataset_id", "dataset_id", "tier"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(32), ForeignKey("datasets.id", ondelete="CASCADE"))
    tier: Mapped[Tier] = mapped_column(EnumText(Tier))
    text: Mapped[str] = mapped_column(Text)
    folded: Mapped[str] = mapped_column(Text)
