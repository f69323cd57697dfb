"""What is published."""

from dataclasses import dataclass
from typing import Any

from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.segment import LabelSegment


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Labels that are complete, and what is said about the episode with them (`DOCUMENT`).

    unchanged: they are those of the newest revision. restores: number of the older revision whose labels they are.
    looked_at: of the segments, how many a script or a file brought and whoever publishes them says to have looked at.
    """

    row: EpisodeRow
    tier: Tier
    edit: int
    document: dict[str, Any]
    unchanged: bool = False
    restores: int | None = None
    looked_at: int = 0

    @property
    def segments(self) -> tuple[LabelSegment, ...]:
        found: tuple[LabelSegment, ...] = self.document["segments"]
        return found
