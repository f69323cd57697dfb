"""What people say about the files of a folder, once, under a name."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from backend.core.db import Base, Identified


class ImportProfileRow(Identified, Base):
    """profile: the fields of dexvla.spec.ImportProfile. key: the name without its case, of which there is one."""

    __tablename__ = "import_profiles"

    name: Mapped[str] = mapped_column(String(128))
    key: Mapped[str] = mapped_column(String(256), unique=True)
    profile: Mapped[dict[str, Any]]
    created_by_name: Mapped[str | None] = mapped_column(String(64))
    changed_at: Mapped[datetime]
    changed_by_name: Mapped[str | None] = mapped_column(String(64))
