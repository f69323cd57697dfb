"""Coverage of a dataset, agreement of people, and what each of them did."""

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from backend.core.db import utc_now
from backend.identity.actor import Actor
from backend.labels.core.checks import UsualRange, codes_of, length_bounds
from backend.labels.core.findings import FindingCode
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.repository import Double, PersonSums
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
from backend.labels.sets import repository as sets
from backend.labels.sets.repository import Tally, Totals
from backend.labels.sets.usual import usual_range
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import SUBMITTED_STATES, WorkState
from backend.tables.label_history import HistoryKind
from backend.tables.label_set import PUBLISHED
from backend.tables.segment import LabelSegment, Provenance
from dexvla.segmentation.agreement import Matches, boundaries, confusion, kappa, match_boundaries, pooled, same_share
from dexvla.spec import Segment

TOLERANCES = (10, 25)  # steps
_DAYS = 30
_PAIRS = 20_000  # whose agreement is kept in memory, under a kilobyte each


# --- coverage -------------------------------------------------------------------------------------------------


class _Layer:
    """First labels of a tier, counted by the database. hidden: sets that blind labelling hides from this person, which
    do not count."""

    def __init__(self, db: Session, me: Actor, dataset_id: str, tier: Tier) -> None:
        self.db, self.tier = db, tier
        self.texts = sets.texts(db, dataset_id, tier)
        self.totals = sets.totals(db, dataset_id, tier, 0)
        self.tallies = sets.tallies(db, dataset_id, tier, 0)
        self.hidden = sets.hidden_sets(db, dataset_id, tier, me.id)
        if self.hidden:
            less = sets.tallies_of(db, self.hidden)
            self.tallies += [one._replace(segments=-one.segments, steps=-one.steps, firsts=-one.firsts) for one in less]

    def with_text(self) -> Iterable[tuple[str, Tally]]:
        return ((self.texts[one.text_id], one) for one in self.tallies if self.texts[one.text_id])


def coverage(db: Session, me: Actor, dataset_id: str) -> CoverageOut:
    """Of the first rater's labels, drafts as they are now; `double` of the second's. The segments of episodes that
    this person labels blind do not count."""
    dataset = dataset_row(db, dataset_id)
    settings = Labelling.model_validate(dataset.labelling)
    episodes, steps = sets.episodes(db, dataset_id)
    first = _Layer(db, me, dataset_id, Tier.SUBSTEP)
    tiers = [_tier(db, dataset_id, first, episodes, steps)]
    if settings.plan_tier:
        tiers.append(_tier(db, dataset_id, _Layer(db, me, dataset_id, Tier.PLAN), episodes, steps))
    provenance: Counter[Provenance] = Counter()
    for _, one in first.with_text():
        provenance[one.provenance] += one.segments
    second = sets.by_state(db, dataset_id, Tier.SUBSTEP, 1)
    said = _said(db, dataset_id, first.totals, episodes)
    return CoverageOut(
        dataset_id=dataset_id,
        tiers=tiers,
        labels=_labels(db, first, texts_of(dataset, Tier.SUBSTEP)),
        findings=_findings(db, dataset, first, usual_range(db, dataset, Tier.SUBSTEP)),
        provenance={key: count for key, count in provenance.items() if count},
        double=DoubleCoverage(
            wanted=_share(settings.double_percent, episodes),
            assigned=sum(second.values()),
            submitted=sum(count for state, count in second.items() if state in SUBMITTED_STATES),
        ),
        days=[
            DayCount(day=day, submitted=submitted, published=published)
            for day, submitted, published in repository.days(db, dataset_id, _DAYS)
        ],
        **said,
    )


def _share(percent: float, episodes: int) -> int:
    return -int(-percent * episodes // 100)


def _tier(db: Session, dataset_id: str, layer: _Layer, episodes: int, steps: int) -> TierCoverage:
    published = sets.totals(db, dataset_id, layer.tier, PUBLISHED)
    states: Counter[WorkState | None] = Counter()
    for one in layer.totals:
        states[one.state] += one.sets
    states[WorkState.UNASSIGNED] += episodes - sum(one.sets for one in layer.totals)
    shown = [one for _, one in layer.with_text()]
    return TierCoverage(
        tier=layer.tier,
        episodes=episodes,
        steps=steps,
        by_state={state: states[state] for state in WorkState},
        published_episodes=sum(one.sets for one in published),
        published_steps=sum(one.steps for one in published),
        labelled_steps=sum(one.steps for one in shown),
        segments=sum(one.segments for one in shown),
    )


def _said(db: Session, dataset_id: str, totals: Sequence[Totals], episodes: int) -> dict[str, dict[str, int]]:
    """What drafts say of their episodes; where there is none, what the episodes' rows do."""
    quality: Counter[str] = Counter()
    success: Counter[bool | None] = Counter()
    tags: Counter[str] = Counter()
    for one in totals:
        quality[str(one.quality or "")] += one.sets
        success[one.success] += one.sets
        for tag in json.loads(one.tags):
            tags[str(tag)] += one.sets
    if sum(one.sets for one in totals) < episodes:
        for its_success, its_quality, its_tags in sets.said_without_draft(db, dataset_id, Tier.SUBSTEP):
            quality[its_quality or ""] += 1
            success[its_success] += 1
            tags.update(str(tag) for tag in its_tags)
    words = {True: "yes", False: "no", None: "unknown"}
    return {
        "quality": {name: count for name, count in quality.items() if name},
        "success": {words[value]: count for value, count in success.items()},
        "tags": dict(tags),
    }


def _findings(db: Session, dataset: Dataset, layer: _Layer, usual: UsualRange) -> dict[FindingCode, int]:
    found: Counter[FindingCode] = Counter()
    for one in layer.tallies:
        before = None if one.before_id is None else layer.texts[one.before_id]
        for code in codes_of(before, layer.texts[one.text_id], one.provenance, usual):
            found[code] += one.segments
    bounds = length_bounds(usual)
    if bounds is not None:
        short, long = sets.odd_lengths(db, dataset.id, layer.tier, 0, bounds)
        less = sets.odd_lengths_of(db, layer.hidden, bounds) if layer.hidden else (0, 0)
        found[FindingCode.SHORT] += short - less[0]
        found[FindingCode.LONG] += long - less[1]
    found[FindingCode.LENGTH] += sum(one.misfits for one in layer.totals)
    if layer.hidden:
        found[FindingCode.LENGTH] -= sets.misfits_of(db, layer.hidden)
    return {code: count for code, count in found.items() if count}


def _labels(db: Session, layer: _Layer, known: Sequence[str]) -> list[LabelCount]:
    segments: Counter[int] = Counter()
    steps: Counter[int] = Counter()
    episodes: Counter[int] = Counter()
    for _, one in layer.with_text():
        segments[one.text_id] += one.segments
        steps[one.text_id] += one.steps
        episodes[one.text_id] += one.firsts
    ids = {layer.texts[id]: id for id, count in segments.items() if count}
    listed = set(known)
    return [
        LabelCount(
            text=text,
            in_vocabulary=text in listed,
            segments=segments[ids.get(text, 0)],
            episodes=episodes[ids.get(text, 0)],
            steps=steps[ids.get(text, 0)],
            median_steps=_median(db, layer, ids[text], segments, steps) if text in ids else 0.0,
        )
        for text in [*known, *sorted(ids.keys() - listed)]
    ]


def _median(db: Session, layer: _Layer, id: int, segments: Counter[int], steps: Counter[int]) -> float:
    count = segments[id]
    if count <= 2:
        return steps[id] / count
    return sets.median_length(db, id, 0, count, but=layer.hidden)


# --- agreement ------------------------------------------------------------------------------------------------


class _Scores:
    """How far two people's labels of an episode agree."""

    def __init__(self, first: Sequence[LabelSegment], second: Sequence[LabelSegment]) -> None:
        left, right = _plain(first), _plain(second)
        self.confusion = confusion(left, right)
        self.matches = {steps: match_boundaries(boundaries(left), boundaries(right), steps) for steps in TOLERANCES}


class _Pair:
    def __init__(self, double: Double, scores: _Scores) -> None:
        self.double, self.confusion, self.matches = double, scores.confusion, scores.matches
        self.people = (double.first_person, double.second_person)


_Key = tuple[str, Tier, int, int]
_scored: OrderedDict[_Key, _Scores] = OrderedDict()
_lock = threading.Lock()


def _plain(segments: Sequence[LabelSegment]) -> list[Segment]:
    return [Segment(start=one.start, end=one.end, text=one.text) for one in segments]


def _pairs(db: Session, dataset_id: str, tier: Tier) -> list[_Pair]:
    """Of episodes whose two sets of labels are both submitted. What was compared before is not read again: the numbers
    of the sets and their edits say that they are the same."""
    doubles = repository.doubles(db, dataset_id, tier)
    keys = {one: (one.episode_id, tier, one.first_edit, one.second_edit) for one in doubles}
    with _lock:
        known = {one: _scored[key] for one, key in keys.items() if key in _scored}
    missing = [one.episode_id for one in doubles if one not in known]
    for episode_id, first, second in repository.both_labels(db, missing, tier):
        scores = _Scores(first, second)
        with _lock:
            one = next(one for one in doubles if one.episode_id == episode_id)
            _scored[keys[one]] = known[one] = scores
            while len(_scored) > _PAIRS:
                _scored.popitem(last=False)
    return [_Pair(one, known[one]) for one in doubles if one in known]


def _scores(matches: dict[int, Matches]) -> list[BoundaryScore]:
    return [
        BoundaryScore(tolerance=steps, precision=found.precision, recall=found.recall, f1=found.f1)
        for steps, found in matches.items()
    ]


def _sum(pairs: Sequence[_Pair]) -> dict[int, Matches]:
    return {steps: sum((pair.matches[steps] for pair in pairs), Matches()) for steps in TOLERANCES}


def agreement(db: Session, me: Actor, dataset_id: str, tier: Tier) -> AgreementOut:
    dataset_row(db, dataset_id)
    pairs = _pairs(db, dataset_id, tier)
    names = draft_queries.names(db, {who for pair in pairs for who in pair.people})
    reviews = repository.reviews(db, dataset_id, tier)
    accepted, edited = sets.machine_made(db, dataset_id, tier, 0)
    return AgreementOut(
        pairs=[_pair_out(pair, tier, names) for pair in pairs],
        boundaries=_scores(_sum(pairs)) if pairs else None,
        kappa=kappa(pooled(pair.confusion for pair in pairs)) if pairs else None,
        rejection_rate=_rate(reviews.get(HistoryKind.REJECTED, 0), reviews.get(HistoryKind.APPROVED, 0)),
        edit_rate=_rate(edited, accepted),
    )


def _pair_out(pair: _Pair, tier: Tier, names: dict[str, str]) -> PairAgreement:
    first, second = pair.people
    return PairAgreement(
        episode_id=pair.double.episode_id,
        number=pair.double.number,
        tier=tier,
        first_id=first,
        first_name=names.get(first or ""),
        second_id=second,
        second_name=names.get(second or ""),
        steps=pair.double.steps,
        boundaries=_scores(pair.matches),
        kappa=kappa(pair.confusion),
        same_steps=same_share(pair.confusion),
    )


def _rate(some: int, others: int) -> float | None:
    return some / (some + others) if some + others else None


# --- people ---------------------------------------------------------------------------------------------------


def people(db: Session, me: Actor, *, dataset_id: str | None, days: int | None) -> list[PersonFigures]:
    """By name. An episode that was submitted twice counts twice as submitted, and once in segments and steps."""
    if dataset_id is not None:
        dataset_row(db, dataset_id)
    since = None if days is None else utc_now() - timedelta(days=days)
    ids = repository.active_datasets(db, since) if dataset_id is None else [dataset_id]
    sums = repository.people(db, dataset_id=dataset_id, since=since)
    pairs = [pair for one in ids for tier in Tier for pair in _pairs(db, one, tier)]
    names = draft_queries.names(db, set(sums))
    found = [_person(who, names.get(who, "somebody who is gone"), one, pairs) for who, one in sums.items()]
    return sorted(found, key=lambda one: one.name.casefold())


def _person(who: str, name: str, sums: PersonSums, pairs: Sequence[_Pair]) -> PersonFigures:
    doubles = [pair for pair in pairs if who in pair.people]
    matches = _sum(doubles)
    own, about = sums.did, sums.underwent
    return PersonFigures(
        user_id=who,
        name=name,
        submitted=own[HistoryKind.SUBMITTED],
        published=own[HistoryKind.PUBLISHED],
        approved=about[HistoryKind.APPROVED],
        rejected=about[HistoryKind.REJECTED],
        reviews=own[HistoryKind.APPROVED] + own[HistoryKind.REJECTED],
        segments=sums.texts,
        steps=sums.labelled_steps,
        rejection_rate=_rate(about[HistoryKind.REJECTED], about[HistoryKind.APPROVED]),
        edit_rate=_rate(sums.edited, sums.accepted),
        doubles=len(doubles),
        f1_10=matches[10].f1 if doubles else None,
        f1_25=matches[25].f1 if doubles else None,
        kappa=kappa(pooled(pair.confusion for pair in doubles)) if doubles else None,
        last_active=sums.last_active,
    )
