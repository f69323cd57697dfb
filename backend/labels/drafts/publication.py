"""What is published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.labels.core.segments import SegmentOut
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow


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
    def segments(self) -> list[SegmentOut]:
        return [SegmentOut.model_validate(segment) for segment in self.document["segments"]]


def plain_segments(segments: Sequence[Any]) -> list[dict[str, Any]]:
    """Stored segments, old ones too, as they are stored today."""
    return [SegmentOut.model_validate(segment).model_dump(mode="json") for segment in segments]
