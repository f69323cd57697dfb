"""What is usual in a dataset: counted over everything that is published there."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping

from sqlalchemy.orm import Session

from backend.labels.core.checks import UsualRange, successors
from backend.labels.core.settings import Labelling
from backend.labels.sets import repository
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.label_set import FORMER, PUBLISHED

_MOST = 200_000  # pairs of texts in memory, over all datasets; the one not asked about for longest goes first

Followers = Mapping[str, Counter[str]]
_kept: OrderedDict[tuple[str, Tier], tuple[tuple[int, int], Followers, int]] = OrderedDict()
_lock = threading.Lock()


def usual_range(db: Session, dataset: Dataset, tier: Tier) -> UsualRange:
    """What is usual in the dataset, all published labels counted."""
    return _range(dataset, tier, _followers(db, dataset.id, tier), dataset.fps)


def usual_for(db: Session, dataset: Dataset, tier: Tier, episode_id: str, fps: float | None) -> UsualRange:
    """For one episode, whose own published labels do not count."""
    followers = _followers(db, dataset.id, tier)
    own = successors([repository.published_texts(db, episode_id, tier)])
    others = dict(followers)
    for before, texts in own.items():
        left = others[before] - texts if before in others else Counter[str]()
        if left:
            others[before] = left
        else:
            others.pop(before, None)
    return _range(dataset, tier, others, fps or dataset.fps)


def _range(dataset: Dataset, tier: Tier, followers: Followers, fps: float | None) -> UsualRange:
    return UsualRange(
        labelling=Labelling.model_validate(dataset.labelling),
        vocabulary=list(dataset.vocabulary if tier is Tier.SUBSTEP else dataset.plan_vocabulary),
        successors=followers,
        fps=fps,
    )


def _followers(db: Session, dataset_id: str, tier: Tier) -> Followers:
    stamp = repository.published_stamp(db, dataset_id, tier)
    with _lock:
        kept = _kept.get((dataset_id, tier))
        if kept is not None and kept[0] == stamp:
            _kept.move_to_end((dataset_id, tier))
            return kept[1]
    pairs = repository.pairs(db, dataset_id, tier, (PUBLISHED, FORMER))
    texts = repository.texts(db, dataset_id, tier)  # after the pairs: for writers each query is a moment of its own
    found: dict[str, Counter[str]] = {}
    for before, text, count in pairs:
        found.setdefault(texts[before], Counter())[texts[text]] += count
    with _lock:
        _kept[dataset_id, tier] = (stamp, found, sum(map(len, found.values())))
        _kept.move_to_end((dataset_id, tier))
        while len(_kept) > 1 and sum(size for _, _, size in _kept.values()) > _MOST:
            _kept.popitem(last=False)
    return found
