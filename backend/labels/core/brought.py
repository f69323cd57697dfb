"""The substeps that a file brought, as a proposal."""

from collections.abc import Iterable, Sequence
from typing import Any

from backend.tables.proposal import Proposal, ProposalSource
from backend.tables.segment import ProposalSegment
from dexvla.episodes.format import LabelSource

_SCRIPTED, _IMPORTED = 0.95, 0.8  # an expert knows its plan; others labelled with other words in mind


def brought(episode_id: str, segments: Iterable[Sequence[Any]], label_source: str | None) -> Proposal:
    """segments: (start, end, text). label_source: what the file says."""
    scripted = label_source == LabelSource.SCRIPTED
    confidence = _SCRIPTED if scripted else _IMPORTED
    return Proposal(
        episode_id=episode_id,
        source=ProposalSource.SCRIPTED if scripted else ProposalSource.IMPORTED,
        segments=tuple(ProposalSegment(start, end, text, confidence) for start, end, text in segments),
        settings={"label_source": label_source},
    )
