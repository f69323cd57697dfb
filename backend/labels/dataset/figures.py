"""Coverage of a dataset, agreement of people, and what each of them did."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy.orm import Session

from backend.core.db import utc_now
from backend.identity.actor import Actor
from backend.labels.core.checks import codes
from backend.labels.core.findings import FindingCode
from backend.labels.core.settings import Labelling
from backend.labels.dataset import board, repository
from backend.labels.dataset.board import Labels
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import (
    AgreementOut,
    BoundaryScore,
    CoverageOut,
    DayCount,
    DoubleCoverage,
    LabelCount,
    PairAgreement,
    PersonFigures,
    TierCoverage,
)
from backend.labels.dataset.service import dataset_row, texts_of
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.repository import blind_for
from backend.tables.document import Tier
from backend.tables.draft import HANDED_IN, Draft, WorkState
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.segment import Provenance
from dexvla.segmentation.agreement import Matches, boundaries, confusion, kappa, match_boundaries, pooled, same_share
from dexvla.spec import Segment

TOLERANCES = (10, 25)  # steps
_DAYS = 30
_MACHINE = (Provenance.MACHINE_ACCEPTED, Provenance.MACHINE_EDITED)


# --- coverage -------------------------------------------------------------------------------------------------


def coverage(db: Session, me: Actor, dataset_id: str) -> CoverageOut:
    """Of the first rater's labels, drafts as they are now; `double` of the second's. The segments of episodes that
    this person labels blind do not count."""
    dataset = dataset_row(db, dataset_id)
    settings = Labelling.model_validate(dataset.labelling)
    every = _shown(db, me, dataset_id, Tier.SUBSTEP)
    tiers = [_tier(db, dataset_id, Tier.SUBSTEP, every)]
    if settings.plan_tier:
        tiers.append(_tier(db, dataset_id, Tier.PLAN, _shown(db, me, dataset_id, Tier.PLAN)))
    usual = board.usual_range(db, dataset, Tier.SUBSTEP)
    findings: Counter[FindingCode] = Counter()
    provenance: Counter[Provenance] = Counter()
    for labels in every:
        if labels.parts:
            findings.update(code for _, code in codes(labels.parts, labels.about.steps, usual))
            provenance.update(one.provenance for one in labels.parts if one.text)
    second = [one.about.state for one in board.labels(db, dataset_id, Tier.SUBSTEP, rater=1) if one.there]
    abouts = [labels.about for labels in every]
    return CoverageOut(
        dataset_id=dataset_id,
        tiers=tiers,
        labels=_labels(every, texts_of(dataset, Tier.SUBSTEP)),
        findings=dict(findings),
        provenance=dict(provenance),
        quality=dict(Counter(str(about.quality) for about in abouts if about.quality)),
        success=dict(Counter({True: "yes", False: "no", None: "unknown"}[about.success] for about in abouts)),
        tags=dict(Counter(str(tag) for about in abouts for tag in about.tags)),
        double=DoubleCoverage(
            wanted=_share(settings.double_percent, len(every)),
            assigned=len(second),
            submitted=sum(state in HANDED_IN for state in second),
        ),
        days=_days(repository.moments(db, dataset_id)),
    )


def _shown(db: Session, me: Actor, dataset_id: str, tier: Tier) -> list[Labels]:
    """Without the segments that blind labelling hides from this person."""
    hidden = blind_for(db, dataset_id, me.id)
    return [
        dataclasses.replace(one, parts=()) if (one.about.episode_id, tier) in hidden else one
        for one in board.labels(db, dataset_id, tier)
    ]


def _share(percent: float, episodes: int) -> int:
    return -int(-percent * episodes // 100)


def _tier(db: Session, dataset_id: str, tier: Tier, every: Sequence[Labels]) -> TierCoverage:
    published = board.published(db, dataset_id, tier)
    states = Counter(labels.about.state for labels in every)
    lengths = [one.end - one.start for labels in every for one in labels.parts if one.text]
    return TierCoverage(
        tier=tier,
        episodes=len(every),
        steps=sum(labels.about.steps for labels in every),
        by_state={state: states[state] for state in WorkState},
        published_episodes=len(published),
        published_steps=sum(labels.about.steps for labels in every if labels.about.episode_id in published),
        labelled_steps=sum(lengths),
        segments=len(lengths),
    )


def _labels(every: Sequence[Labels], known: Sequence[str]) -> list[LabelCount]:
    lengths: dict[str, list[int]] = {}
    episodes: dict[str, set[str]] = {}
    for labels in every:
        for one in labels.parts:
            if one.text:
                lengths.setdefault(one.text, []).append(one.end - one.start)
                episodes.setdefault(one.text, set()).add(labels.about.episode_id)
    order = [*known, *sorted(lengths.keys() - set(known))]
    listed = set(known)
    return [
        LabelCount(
            text=text,
            in_vocabulary=text in listed,
            segments=len(lengths.get(text, [])),
            episodes=len(episodes.get(text, [])),
            steps=sum(lengths.get(text, [])),
            median_steps=median(lengths[text]) if text in lengths else 0.0,
        )
        for text in order
    ]


def _days(moments: Iterable[tuple[datetime, HistoryKind, Tier]]) -> list[DayCount]:
    submitted: Counter[str] = Counter()
    published: Counter[str] = Counter()
    for moment, kind, _ in moments:
        day = moment.date().isoformat()
        submitted[day] += kind is HistoryKind.SUBMITTED
        published[day] += kind is HistoryKind.PUBLISHED
    days = sorted(day for day in {*submitted, *published} if submitted[day] or published[day])
    return [DayCount(day=day, submitted=submitted[day], published=published[day]) for day in days[-_DAYS:]]


# --- agreement ------------------------------------------------------------------------------------------------


class _Pair:
    """Two people's labels of an episode."""

    def __init__(self, item: Item, first: Draft, second: Draft) -> None:
        self.item, self.first, self.second = item, first, second
        left, right = _plain(first), _plain(second)
        self.confusion = confusion(left, right)
        self.matches = {steps: match_boundaries(boundaries(left), boundaries(right), steps) for steps in TOLERANCES}

    @property
    def people(self) -> tuple[str | None, str | None]:
        return self.first.submitted_by or self.first.assignee_id, self.second.submitted_by or self.second.assignee_id


def _plain(draft: Draft) -> list[Segment]:
    return [Segment(start=one.start, end=one.end, text=one.text) for one in draft.segments]


def _pairs(db: Session, me: Actor, dataset_id: str, tier: Tier) -> list[_Pair]:
    """Of episodes whose two sets of labels are both submitted."""
    second = repository.all_drafts(db, dataset_id, tier, rater=1)
    if not second:
        return []
    ids = [item.row.id for item in second]
    first = {item.row.id: item for item in repository.items(db, dataset_id, tier, ids=ids)}
    hidden = blind_for(db, dataset_id, me.id)
    return [
        _Pair(item, one, item.draft)
        for item in second
        if item.draft is not None
        and item.draft.state in HANDED_IN
        and (one := first[item.row.id].draft) is not None
        and one.edit
        and (item.row.id, tier) not in hidden
    ]


def _scores(matches: dict[int, Matches]) -> list[BoundaryScore]:
    return [
        BoundaryScore(tolerance=steps, precision=found.precision, recall=found.recall, f1=found.f1)
        for steps, found in matches.items()
    ]


def _sum(pairs: Sequence[_Pair]) -> dict[int, Matches]:
    return {steps: sum((pair.matches[steps] for pair in pairs), Matches()) for steps in TOLERANCES}


def agreement(db: Session, me: Actor, dataset_id: str, tier: Tier) -> AgreementOut:
    dataset_row(db, dataset_id)
    pairs = _pairs(db, me, dataset_id, tier)
    names = draft_queries.names(db, {who for pair in pairs for who in pair.people})
    reviews = Counter(kind for _, kind, of in repository.moments(db, dataset_id) if of is tier)
    made = Counter(one.provenance for labels in board.labels(db, dataset_id, tier) for one in labels.parts)
    return AgreementOut(
        pairs=[_pair_out(pair, tier, names) for pair in pairs],
        boundaries=_scores(_sum(pairs)) if pairs else None,
        kappa=kappa(pooled(pair.confusion for pair in pairs)) if pairs else None,
        rejection_rate=_rate(reviews[HistoryKind.REJECTED], reviews[HistoryKind.APPROVED]),
        edit_rate=_rate(made[_MACHINE[1]], made[_MACHINE[0]]),
    )


def _pair_out(pair: _Pair, tier: Tier, names: dict[str, str]) -> PairAgreement:
    first, second = pair.people
    return PairAgreement(
        episode_id=pair.item.row.id,
        number=pair.item.row.number,
        tier=tier,
        first_id=first,
        first_name=names.get(first or ""),
        second_id=second,
        second_name=names.get(second or ""),
        steps=pair.item.row.steps,
        boundaries=_scores(pair.matches),
        kappa=kappa(pair.confusion),
        same_steps=same_share(pair.confusion),
    )


def _rate(some: int, others: int) -> float | None:
    return some / (some + others) if some + others else None


def _edit_rate(drafts: Iterable[LabelHistory]) -> float | None:
    found = Counter(one.provenance for draft in drafts for one in draft.segments)
    return _rate(found[_MACHINE[1]], found[_MACHINE[0]])


# --- people ---------------------------------------------------------------------------------------------------


def people(db: Session, me: Actor, *, dataset_id: str | None, days: int | None) -> list[PersonFigures]:
    """By name. An episode that was submitted twice counts twice as submitted, and once in segments and steps."""
    if dataset_id is not None:
        dataset_row(db, dataset_id)
    since = None if days is None else utc_now() - timedelta(days=days)
    events = repository.events(db, dataset_id=dataset_id, since=since)
    ids = sorted({event.dataset_id for event in events})
    pairs = [pair for one in ids for tier in Tier for pair in _pairs(db, me, one, tier)]
    everybody = {event.by_id for event in events} | {event.about_id for event in events}
    names = draft_queries.names(db, everybody)
    found = [_person(who, names.get(who, "somebody who is gone"), events, pairs) for who in everybody if who]
    return sorted(found, key=lambda one: one.name.casefold())


def _person(who: str, name: str, events: Sequence[LabelHistory], pairs: Sequence[_Pair]) -> PersonFigures:
    own = [event for event in events if event.by_id == who]
    about = Counter(event.kind for event in events if event.about_id == who)
    kinds = Counter(event.kind for event in own)
    last = {(event.episode_id, event.tier, event.rater): event for event in own if event.kind is HistoryKind.SUBMITTED}
    segments = [one for event in last.values() for one in event.segments if one.text]
    doubles = [pair for pair in pairs if who in pair.people]
    matches = _sum(doubles)
    return PersonFigures(
        user_id=who,
        name=name,
        submitted=kinds[HistoryKind.SUBMITTED],
        published=kinds[HistoryKind.PUBLISHED],
        approved=about[HistoryKind.APPROVED],
        rejected=about[HistoryKind.REJECTED],
        reviews=kinds[HistoryKind.APPROVED] + kinds[HistoryKind.REJECTED],
        segments=len(segments),
        steps=sum(one.end - one.start for one in segments),
        rejection_rate=_rate(about[HistoryKind.REJECTED], about[HistoryKind.APPROVED]),
        edit_rate=_edit_rate(last.values()),
        doubles=len(doubles),
        f1_10=matches[10].f1 if doubles else None,
        f1_25=matches[25].f1 if doubles else None,
        kappa=kappa(pooled(pair.confusion for pair in doubles)) if doubles else None,
        last_active=max((event.created_at for event in own), default=None),
    )
