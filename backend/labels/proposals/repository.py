"""Queries about proposals, verdicts, and the published labels that proposals are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from backend.tables.document import Tier
from backend.tables.episode import EpisodeRow
from backend.tables.label_revision import LabelRevision
from backend.tables.proposal import Proposal, ProposalSource
from backend.tables.proposal_verdict import ProposalVerdict, Verdict
from backend.tables.segment import LabelSegment


def newest(db: Session, episode_id: str) -> list[Proposal]:
    """The newest of each source."""
    found = db.scalars(select(Proposal).where(Proposal.episode_id == episode_id).order_by(Proposal.created_at))
    return list({row.source: row for row in found}.values())


@dataclass(frozen=True, kw_only=True)
class Published:
    """An episode of which labels are published; revision: the newest."""

    row: EpisodeRow
    revision: int


def published(db: Session, dataset_id: str, *, but: str) -> list[Published]:
    """All of a dataset except the episode `but`, in the dataset's order; without their labels, which are large."""
    number = func.max(LabelRevision.number)
    query = (
        select(EpisodeRow, number)
        .join(LabelRevision, LabelRevision.episode_id == EpisodeRow.id)
        .where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.id != but, EpisodeRow.deleted_at.is_(None))
        .where(LabelRevision.tier == Tier.SUBSTEP)
        .group_by(EpisodeRow.id)
        .order_by(EpisodeRow.number)
    )
    return [Published(row=row, revision=revision) for row, revision in db.execute(query)]


def labels(db: Session, published: Sequence[Published]) -> dict[str, tuple[LabelSegment, ...]]:
    """Segments of these revisions, by episode."""
    numbers = {one.row.id: one.revision for one in published}
    query = select(LabelRevision.episode_id, LabelRevision.number, LabelRevision.segments).where(
        LabelRevision.episode_id.in_(numbers), LabelRevision.tier == Tier.SUBSTEP
    )
    return {row.episode_id: row.segments for row in db.execute(query) if row.number == numbers[row.episode_id]}


def counts(db: Session, dataset_id: str) -> Sequence[Row[ProposalSource, Verdict, int | None, int]]:
    """How many of each source, verdict and tenth of the confidence."""
    columns = (ProposalVerdict.source, ProposalVerdict.verdict, ProposalVerdict.tenth)
    query = select(*columns, func.count()).where(ProposalVerdict.dataset_id == dataset_id).group_by(*columns)
    return db.execute(query).all()
