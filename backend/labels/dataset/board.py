"""All labels of a dataset at once, light enough to look through on every request.

Drafts of hundreds of episodes hold tens of thousands of segments. They are taken apart once for each edit and kept in
memory; a request asks the database which edit each draft is at and reads the segments of those only that are new to it.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from backend.labels.core.checks import UsualRange, successors
from backend.labels.core.settings import Labelling
from backend.labels.drafts import repository as draft_queries
from backend.tables.dataset import Dataset
from backend.tables.document import Quality, Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment

_KEPT = 20_000  # drafts in memory, some kilobytes each
_AT_ONCE = 500  # of a query's parameters


class About(NamedTuple):
    """What of a draft is not its segments; of an episode without one, what its row says."""

    episode_id: str
    number: int
    steps: int
    fps: float | None
    label_state: LabelState
    success: bool | None
    tags: Sequence[str]
    quality: Quality | None
    rater: int | None
    edit: int
    updated_at: datetime | None
    updated_by: str | None
    assignee_id: str | None
    state: WorkState


@dataclass(frozen=True, slots=True)
class Labels:
    """An episode with the labels of one rater; there: somebody, or the file, has made some."""

    about: About
    parts: tuple[LabelSegment, ...]

    @property
    def there(self) -> bool:
        return self.about.rater is not None


_Key = tuple[str, Tier, int, int, datetime | None]
_parts: OrderedDict[_Key, tuple[LabelSegment, ...]] = OrderedDict()
_usual: dict[tuple[str, Tier], tuple[tuple[int, datetime | None], Mapping[str, Counter[str]]]] = {}
_lock = threading.Lock()


def labels(db: Session, dataset_id: str, tier: Tier, *, rater: int | None = 0) -> list[Labels]:
    """Of every episode, by number. rater None: of all raters, episodes with a draft only."""
    own = and_(Draft.episode_id == EpisodeRow.id, Draft.tier == tier)
    if rater is not None:
        own = and_(own, Draft.rater == rater)
    query = (
        select(
            EpisodeRow.id,
            EpisodeRow.number,
            EpisodeRow.steps,
            EpisodeRow.fps,
            EpisodeRow.label_state,
            EpisodeRow.success,
            EpisodeRow.tags,
            EpisodeRow.quality,
            Draft.rater,
            Draft.edit,
            Draft.updated_at,
            Draft.updated_by,
            Draft.assignee_id,
            Draft.state,
            Draft.success,
            Draft.tags,
            Draft.quality,
        )
        .join(Draft, own, isouter=rater is not None)
        .where(EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None))
        .order_by(EpisodeRow.number, Draft.rater)
    )
    found = [_about(*row) for row in db.execute(query)]
    parts = _parts_of(db, [about for about in found if about.rater is not None], tier)
    return [Labels(about, parts.get((about.episode_id, about.rater or 0), ())) for about in found]


def _about(*row: Any) -> About:
    *episode, rater, edit, updated_at, updated_by, assignee_id, state, success, tags, quality = row
    if rater is None:
        return About._make((*episode, None, 0, None, None, None, WorkState.UNASSIGNED))
    about = (rater, edit, updated_at, updated_by, assignee_id, state)
    return About._make((*episode[:5], success, tags, quality, *about))


def _parts_of(db: Session, drafts: Sequence[About], tier: Tier) -> dict[tuple[str, int], tuple[LabelSegment, ...]]:
    keys: dict[_Key, tuple[str, int]] = {}
    for one in drafts:
        rater = one.rater or 0
        keys[one.episode_id, tier, rater, one.edit, one.updated_at] = (one.episode_id, rater)
    with _lock:
        known = {place: _parts[key] for key, place in keys.items() if key in _parts}
        for key in keys:
            if key in _parts:
                _parts.move_to_end(key)
    missing = sorted({place[0] for place in keys.values() if place not in known})
    fresh: dict[_Key, tuple[LabelSegment, ...]] = {}
    for first in range(0, len(missing), _AT_ONCE):
        query = select(Draft.episode_id, Draft.rater, Draft.edit, Draft.updated_at, Draft.segments).where(
            Draft.tier == tier, Draft.episode_id.in_(missing[first : first + _AT_ONCE])
        )
        for episode_id, rater, edit, updated_at, segments in db.execute(query):
            fresh[episode_id, tier, rater, edit, updated_at] = segments
    with _lock:
        _parts.update(fresh)
        while len(_parts) > _KEPT:
            _parts.popitem(last=False)
    return known | {(key[0], key[2]): parts for key, parts in fresh.items()}


# --- what is usual --------------------------------------------------------------------------------------------


def published(db: Session, dataset_id: str, tier: Tier) -> set[str]:
    """Episodes with a published revision."""
    query = select(LabelRevision.episode_id).distinct().join(EpisodeRow, EpisodeRow.id == LabelRevision.episode_id)
    return set(
        db.scalars(
            query.where(
                EpisodeRow.dataset_id == dataset_id, EpisodeRow.deleted_at.is_(None), LabelRevision.tier == tier
            )
        )
    )


def usual_range(db: Session, dataset: Dataset, tier: Tier) -> UsualRange:
    """What is usual in the dataset, all published labels counted."""
    return UsualRange(
        labelling=Labelling.model_validate(dataset.labelling),
        vocabulary=list(dataset.vocabulary if tier is Tier.SUBSTEP else dataset.plan_vocabulary),
        successors=_successors(db, dataset.id, tier),
        fps=dataset.fps,
    )


def _successors(db: Session, dataset_id: str, tier: Tier) -> Mapping[str, Counter[str]]:
    """Revisions are never changed: their number and the time of the newest say whether there are others."""
    query = (
        select(func.count(), func.max(LabelRevision.created_at))
        .join(EpisodeRow, EpisodeRow.id == LabelRevision.episode_id)
        .where(EpisodeRow.dataset_id == dataset_id, LabelRevision.tier == tier)
    )
    count, newest = db.execute(query).one()
    stamp = (count, newest)
    kept = _usual.get((dataset_id, tier))
    if kept is not None and kept[0] == stamp:
        return kept[1]
    revisions = draft_queries.last_revisions(db, dataset_id, tier).values()
    found = successors([segment.text for segment in one.segments] for one in revisions)
    with _lock:
        if len(_usual) >= _KEPT:
            _usual.clear()
        _usual[dataset_id, tier] = (stamp, found)
    return found
