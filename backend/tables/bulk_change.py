"""Changes of the labels of many episodes at once."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, EnumText, Identified


class ChangeKind(StrEnum):
    """accept: labels that files brought were published."""

    RENAME = "rename"
    TEMPLATE = "template"
    IMPORT = "import"
    ACCEPT = "accept"
    FACTS = "facts"


class BulkChange(Identified, Base):
    """One deed over many episodes, with what undoing it needs.

    parameters: of the deed. episodes: [{"episode_id", "tier", "edit", "before", "revision", "revision_before"}]: the
    draft's count after it, the history entry from before it, the published revisions after and before it. facts:
    instruction and outcome, with "row", what the episode's row said, where nothing is published.
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
