"""The substeps that a file brought, as a proposal: kept at the intake, and found again for older episodes."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core import limits
from backend.core.errors import NotFoundError
from backend.episodes.files import file_of
from backend.labels.core.brought import brought
from backend.studio.context import Studio
from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.label_history import LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.proposal import Proposal
from dexvla.episodes.format import LabelSource
from dexvla.episodes.reader import open_episode
from dexvla.episodes.segments import run_length
from dexvla.errors import EpisodeError

_BROUGHT = {LabelSource.SCRIPTED.value, LabelSource.IMPORTED.value}


def found_again(db: Session, studio: Studio, row: EpisodeRow) -> Proposal | None:
    """What the file of an episode brought that was taken in before such proposals were kept; not stored.

    From the labels as nobody had edited them, or from the file unless an older studio wrote published labels into it.
    """
    for kind in (Draft, LabelHistory, LabelRevision):
        query = select(kind.segments).where(kind.episode_id == row.id, kind.tier == Tier.SUBSTEP, kind.edit == 0)
        if kind in (Draft, LabelHistory):
            query = query.filter_by(rater=0)
        for segments in db.scalars(query):
            sources = {one.provenance.value for one in segments}
            if sources <= _BROUGHT:
                parts = [(one.start, one.end, one.text) for one in segments]
                return brought(row.id, parts, sources.pop() if len(sources) == 1 else None)
    if row.file_revision is not None:
        return None
    return _of_file(studio, row)


def _of_file(studio: Studio, row: EpisodeRow) -> Proposal | None:
    try:
        with open_episode(file_of(studio, row)) as episode:
            texts, source = episode.substep_reasonings, episode.label_source
    except (EpisodeError, NotFoundError, FileNotFoundError):  # whoever shows the episode says so
        return None
    segments = run_length([limits.one_line(text)[: limits.MAX_TEXT] for text in texts or ()])
    usable = 0 < len(segments) <= limits.MAX_SEGMENTS and not any(limits.wrong_with(one.text) for one in segments)
    if not usable or not any(one.text for one in segments):
        return None
    return brought(row.id, [(one.start, one.end, one.text) for one in segments], source)
