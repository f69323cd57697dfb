"""What is published, and the episode file that carries it."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.db import new_id
from backend.core.errors import DiskFullError, NotFoundError
from backend.intake.copying import labelled_copy
from backend.labels.core.segments import SegmentOut
from backend.labels.core.start import label_source
from backend.studio.context import Studio
from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.manifest import per_step
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from dexvla.files import fsync_path
from dexvla.spec import Segment

_SPARE_BYTES = 16 * 2**20


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


@contextmanager
def labelled_file(studio: Studio, wanted: Publication) -> Iterator[Path]:
    """A copy of the episode's file that carries the labels, beside it; gone afterwards unless it was put in place.

    Raises DiskFullError, NotFoundError for a file that is gone, EpisodeError for one that holds another episode.
    """
    row = wanted.row
    path = studio.settings.folder.episode(row.dataset_id, row.id)
    temporary = path.with_name(f".{row.id}.{new_id()[:8]}.tmp")
    segments = [Segment(start=one.start, end=one.end, text=one.text) for one in wanted.segments]
    try:
        if shutil.disk_usage(path.parent).free < path.stat().st_size + _SPARE_BYTES:
            raise DiskFullError("There is no room to write the labels into the file. Free some space and try again.")
        labelled_copy(
            path,
            temporary,
            instruction=wanted.document["instruction"],
            success=wanted.document["success"],
            labels=per_step(segments),
            source_of_labels=label_source(wanted.segments),
        )
        with open_episode(temporary) as episode:
            if not episode_identities(episode).is_called(row.identity):
                raise EpisodeError(
                    f"episode {row.number}: its file holds another motion or other pictures than when it was "
                    "taken in; restore it from a backup before publishing"
                )
        fsync_path(temporary)
        yield temporary
    except FileNotFoundError:
        raise NotFoundError(f"The file of episode {row.number} is gone; restore it from a backup.") from None
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(studio: Studio, row: EpisodeRow, file: Path) -> None:
    """Replace the episode's file; whoever reads the old one reads it to its end."""
    path = studio.settings.folder.episode(row.dataset_id, row.id)
    os.replace(file, path)
    fsync_path(path.parent)
