"""What the database says about all labels of a dataset is what a look at every one of them says, on both databases."""

import json
import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

import backend.labels.sets.hits
from backend.core.db import Database, new_id, utc_now
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.labels.core.checks import UsualRange, codes, length_bounds, successors
from backend.labels.core.findings import FindingCode
from backend.labels.core.settings import Labelling
from backend.labels.dataset import changes, figures, search, service
from backend.labels.dataset.schemas import RenameIn
from backend.labels.dataset.search import SegmentQuery
from backend.labels.sets.usual import usual_range
from backend.migrations.migrate import downgrade, migrate
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import SUBMITTED_STATES, Draft, WorkState
from backend.tables.episode import EpisodeRow, EpisodeSource
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.segment import LabelSegment, Provenance
from backend.tables.user import User

pytestmark = pytest.mark.slow

STEPS = 60
TEXTS = ["Reach", "Grasp", "Lift", "Raech", "reach", "", "Straße", "100 %_", "Wave"]
VOCABULARY = ["Reach", "Grasp", "Lift"]
BEFORE = "c52f6066aa65"


class World:
    """A dataset whose drafts, revisions and episodes change at random."""

    def __init__(self, db: Session, seed: int) -> None:
        self.db, self.rng = db, random.Random(seed)
        self.people = [User(name=name, password_hash="", role=Role.ANNOTATOR) for name in ("ada", "bob", "eve")]
        template = {"template": ["Grasp", "Lift"], "short_seconds": 0.1, "long_seconds": 0.4}
        self.dataset = Dataset(name="cubes", fps=50.0, vocabulary=VOCABULARY, labelling=template)
        db.add_all([*self.people, self.dataset])
        db.flush()
        for number in range(8):
            db.add(
                EpisodeRow(
                    id=new_id(), dataset_id=self.dataset.id, number=number, identity=new_id(), steps=STEPS,
                    action_dim=14, state_dim=14, fps=50.0, cameras=[], sim=True, size_bytes=0,
                    source=EpisodeSource.UPLOADED, instruction="Lift", tags=self.rng.choice([[], ["odd"]]),
                    success=self.rng.choice([None, True]),
                )
            )  # fmt: skip
        db.flush()

    @property
    def me(self) -> Actor:
        return Actor(id=self.people[0].id, name="ada", role=Role.ANNOTATOR)

    def segments(self) -> tuple[LabelSegment, ...]:
        edges = [
            0,
            *sorted(self.rng.sample(range(1, STEPS), self.rng.randrange(6))),
            self.rng.choice([STEPS, STEPS, 70]),
        ]
        made = [*Provenance, Provenance.HUMAN, Provenance.MACHINE_EDITED]
        return tuple(
            LabelSegment(start, end, self.rng.choice(TEXTS), self.rng.choice(made)) for start, end in pairwise(edges)
        )

    def step(self) -> None:
        rows = list(self.db.scalars(select(EpisodeRow).where(EpisodeRow.deleted_at.is_(None))))
        row = self.rng.choice(rows)
        deed = self.rng.choice(["save", "save", "save", "publish", "second", "state", "delete", "undelete", "withdraw"])
        person = self.rng.choice(self.people).id
        if deed == "delete" and len(rows) > 4:
            row.deleted_at = utc_now()
        elif deed == "undelete":
            gone = list(self.db.scalars(select(EpisodeRow).where(EpisodeRow.deleted_at.is_not(None))))
            for one in gone[:2]:
                one.deleted_at = None
        elif deed == "withdraw":
            if (last := self.newest().get(row.id)) is not None:
                self.db.delete(last)
        elif deed == "publish":
            numbers = select(LabelRevision.number).where(LabelRevision.episode_id == row.id)
            number = max(self.db.scalars(numbers), default=0) + 1
            about: dict[str, Any] = {"episode_id": row.id, "instruction": "", "segments": self.segments()}
            self.db.add(LabelRevision(**about, edit=1, number=number))
            about |= {"dataset_id": row.dataset_id, "tier": Tier.SUBSTEP, "rater": 0, "edit": 1, "by_id": person}
            kind = self.rng.choice([HistoryKind.SUBMITTED, HistoryKind.REJECTED, HistoryKind.PUBLISHED])
            moment = utc_now() - timedelta(hours=self.rng.randrange(2000))
            self.db.add(LabelHistory(**about, kind=kind, about_id=self.people[1].id, created_at=moment))
        else:
            self.save(row, person, rater=int(deed == "second"), segments=deed != "state")
        self.db.flush()

    def save(self, row: EpisodeRow, person: str, *, rater: int, segments: bool) -> None:
        draft = self.db.get(Draft, (row.id, Tier.SUBSTEP, rater))
        if draft is None:
            draft = Draft(episode_id=row.id, rater=rater, segments=self.segments(), instruction="", edit=0)
            self.db.add(draft)
        elif segments:
            draft.segments = self.segments()
        draft.edit += 1
        draft.updated_at, draft.updated_by = utc_now(), self.rng.choice([None, person])
        draft.state = self.rng.choice([WorkState.IN_PROGRESS, WorkState.SUBMITTED, WorkState.APPROVED])
        draft.assignee_id, draft.tags = person, self.rng.choice([[], ["slow"], ["slow", "odd"]])
        draft.success = self.rng.choice([None, True, False])

    # --- looking at every one of them ---

    def drafts(self) -> list[tuple[EpisodeRow, Draft]]:
        query = select(EpisodeRow, Draft).join(Draft, Draft.episode_id == EpisodeRow.id)
        rows = self.db.execute(query.where(EpisodeRow.deleted_at.is_(None)).order_by(EpisodeRow.number, Draft.rater))
        return [(row, draft) for row, draft in rows]

    def newest(self) -> dict[str, LabelRevision]:
        rows = self.db.scalars(select(LabelRevision).order_by(LabelRevision.number))
        return {one.episode_id: one for one in rows}

    def blind(self) -> set[str]:
        mine = [draft for _, draft in self.drafts() if draft.rater and draft.assignee_id == self.me.id]
        return {draft.episode_id for draft in mine if draft.state not in SUBMITTED_STATES}

    def usual(self) -> UsualRange:
        texts = ([one.text for one in revision.segments] for revision in self.newest().values())
        labelling = Labelling.model_validate(self.dataset.labelling)
        return UsualRange(labelling=labelling, vocabulary=VOCABULARY, successors=successors(texts), fps=50.0)

    def shown(self) -> list[tuple[EpisodeRow, Draft]]:
        hidden = self.blind()
        return [
            (row, draft)
            for row, draft in self.drafts()
            if (draft.rater == 0 and row.id not in hidden)
            or (draft.rater and (draft.state in SUBMITTED_STATES or draft.assignee_id == self.me.id))
        ]


def hits(world: World, query: SegmentQuery) -> list[tuple[int, int, int]]:
    """(number, rater, place) as one finds them by looking."""
    found = []
    usual = world.usual()
    for row, draft in world.shown():
        there = {start for start, code in codes(draft.segments, row.steps, usual) if code is query.warning}
        person = draft.updated_by or draft.assignee_id
        for place, one in enumerate(draft.segments):
            needle, text = (query.text or "").casefold(), one.text.casefold()
            fits = (
                (query.text is None or (text == needle if query.exact else needle in text))
                and (query.min_steps is None or one.end - one.start >= query.min_steps)
                and (query.max_steps is None or one.end - one.start <= query.max_steps)
                and (query.provenance is None or one.provenance is query.provenance)
                and (query.state is None or draft.state is query.state)
                and (query.annotator is None or person == query.annotator)
                and (query.warning is None or one.start in there)
            )
            if fits:
                found.append((row.number, draft.rater, place))
    return found


def check_finding(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many hits are found in another way than few."""
    monkeypatch.setattr(backend.labels.sets.hits, "_DENSE", world.rng.choice([1, 2000]))
    queries = [
        SegmentQuery(), SegmentQuery(text="REA"), SegmentQuery(text="STRASSE"), SegmentQuery(text="0 %_"),
        SegmentQuery(text="reach", exact=True), SegmentQuery(min_steps=5, max_steps=12),
        SegmentQuery(provenance=Provenance.HUMAN), SegmentQuery(state=WorkState.SUBMITTED),
        SegmentQuery(annotator=world.people[1].id, text="a"),
        *(SegmentQuery(warning=code) for code in FindingCode),
    ]  # fmt: skip
    for query in queries:
        wanted = hits(world, query)
        for offset, limit in ((0, 500), (3, 4)):
            page = search.find(world.db, world.me, world.dataset.id, Tier.SUBSTEP, query, offset=offset, limit=limit)
            assert [(one.number, one.rater, one.index) for one in page.items] == wanted[offset : offset + limit], query
            assert page.total == len(wanted), query
            assert query.warning is None or all(query.warning in one.warnings for one in page.items)


def check_coverage(world: World) -> None:
    hidden = world.blind()
    first = [(row, draft) for row, draft in world.drafts() if draft.rater == 0]
    parts = [one for row, draft in first if row.id not in hidden for one in draft.segments]
    found = figures.coverage(world.db, world.me, world.dataset.id)
    usual = world.usual()
    seen = Counter(
        code for row, draft in first if row.id not in hidden for _, code in codes(draft.segments, row.steps, usual)
    )
    assert found.findings == dict(seen)
    assert found.provenance == dict(Counter(one.provenance for one in parts if one.text))
    lengths: dict[str, list[int]] = {}
    for one in parts:
        if one.text:
            lengths.setdefault(one.text, []).append(one.end - one.start)
    counted = {one.text: (one.segments, one.steps, one.median_steps) for one in found.labels if one.segments}
    assert counted == {text: (len(all), sum(all), median(all)) for text, all in lengths.items()}
    held = {text: {row.id for row, draft in first if row.id not in hidden
                   and any(one.text == text for one in draft.segments)} for text in lengths}  # fmt: skip
    assert {one.text: one.episodes for one in found.labels if one.segments} == {t: len(ids) for t, ids in held.items()}
    rows = list(world.db.scalars(select(EpisodeRow).where(EpisodeRow.deleted_at.is_(None))))
    said = {draft.episode_id: draft for _, draft in first}
    about = [said.get(row.id, row) for row in rows]
    words = {True: "yes", False: "no", None: "unknown"}
    assert found.success == dict(Counter(words[one.success] for one in about))
    assert found.tags == dict(Counter(tag for one in about for tag in one.tags))
    published = [row for row in rows if row.id in world.newest()]
    tier = found.tiers[0]
    assert (tier.episodes, tier.published_episodes) == (len(rows), len(published))
    states = Counter(said[row.id].state if row.id in said else WorkState.UNASSIGNED for row in rows)
    assert tier.by_state == {state: states[state] for state in WorkState}
    assert (tier.segments, tier.labelled_steps) == (
        sum(1 for one in parts if one.text),
        sum(one.end - one.start for one in parts if one.text),
    )
    days = Counter(
        (entry.created_at.date().isoformat(), entry.kind)
        for entry in world.db.scalars(select(LabelHistory))
        if entry.kind in {HistoryKind.SUBMITTED, HistoryKind.PUBLISHED}
    )
    assert [one.day for one in found.days] == sorted({day for day, _ in days})[-30:]
    assert all(one.submitted == days[one.day, HistoryKind.SUBMITTED] for one in found.days)


def check_the_rest(world: World) -> None:
    assert usual_range(world.db, world.dataset, Tier.SUBSTEP).successors == world.usual().successors
    preview = changes.preview_rename(world.db, world.dataset.id, RenameIn(old="Reach", new="Wave"))
    drafts: Counter[int] = Counter()
    for row, draft in world.drafts():
        drafts[row.number] += sum(one.text == "Reach" for one in draft.segments)
    alive = {row.id: row.number for row in world.db.scalars(select(EpisodeRow).where(EpisodeRow.deleted_at.is_(None)))}
    published = {
        alive[id]: sum(part.text == "Reach" for part in one.segments)
        for id, one in world.newest().items()
        if id in alive
    }
    wanted = {number: (drafts[number], published.get(number, 0)) for number in alive.values()}
    assert {one.number: (one.draft, one.published) for one in preview.episodes} == {
        number: both for number, both in wanted.items() if any(both)
    }
    first = [draft for _, draft in world.drafts() if draft.rater == 0]
    bare = set(alive) - {draft.episode_id for draft in first}
    used = Counter(one.text for draft in first for one in draft.segments)
    used.update(one.text for id, revision in world.newest().items() if id in bare for one in revision.segments)
    words = service.vocabulary(world.db, world.dataset.id, Tier.SUBSTEP)
    assert {entry.text: entry.segments for entry in words.entries} == {text: used[text] for text in VOCABULARY}
    assert set(words.strangers) == {text for text in used if text and text not in VOCABULARY}
    made = Counter(one.provenance for draft in first for one in draft.segments)
    machine = made[Provenance.MACHINE_EDITED] + made[Provenance.MACHINE_ACCEPTED]
    rate = figures.agreement(world.db, world.me, world.dataset.id, Tier.SUBSTEP).edit_rate
    assert rate == (made[Provenance.MACHINE_EDITED] / machine if machine else None)
    last: dict[tuple[str, str], LabelHistory] = {}
    for entry in world.db.scalars(select(LabelHistory).order_by(LabelHistory.created_at)):
        if entry.kind is HistoryKind.SUBMITTED and entry.by_id:
            last[entry.by_id, entry.episode_id] = entry
    counted = Counter({who: 0 for who, _ in last})
    for (who, _), entry in last.items():
        counted[who] += sum(1 for one in entry.segments if one.text)
    people = figures.people(world.db, world.me, dataset_id=world.dataset.id, days=None)
    assert {one.user_id: one.segments for one in people if one.submitted} == dict(counted)


def tables(db: Session) -> Any:
    """The labels in their tables, without the numbers of rows."""
    sets = {one.id: one for one in db.scalars(select(LabelSet))}
    texts = {one.id: one.text for one in db.scalars(select(LabelText))}
    rows = [
        (sets[one.set_id].episode_id, sets[one.set_id].layer, one.place, one.layer, texts[one.text_id],
         texts.get(one.before_id or 0), one.length, one.provenance, one.first)
        for one in db.scalars(select(SetSegment))
    ]  # fmt: skip
    names = [column.name for column in LabelSet.__table__.columns if column.name not in {"id", "tags"}]
    about = [(*(getattr(one, name) for name in names), json.loads(one.tags)) for one in sets.values()]
    sums = [
        (one.id, one.texts, one.labelled_steps, one.accepted, one.edited) for one in db.scalars(select(LabelHistory))
    ]
    return sorted(rows, key=repr), sorted(about, key=repr), sorted(sums)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_database_counts_what_everybody_sees(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    with database.transaction() as db:
        world = World(db, seed)
        for turn in range(40):
            world.step()
            if turn % 10 == 9:
                check_finding(world, monkeypatch)
                check_coverage(world)
                check_the_rest(world)
        written = tables(db)
    downgrade(database, BEFORE)
    migrate(database)
    with database.transaction() as db:
        assert tables(db) == written


def test_the_bounds_of_lengths_are_those_of_seconds() -> None:
    rng = random.Random(0)
    for _ in range(50):
        fps, short, long = rng.choice([25.0, 29.97, 50.0]), rng.random() * 3, 3 + rng.random() * 20
        labelling = Labelling(short_seconds=short, long_seconds=long)
        usual = UsualRange(labelling=labelling, fps=fps)
        bounds = length_bounds(usual)
        assert bounds is not None
        for steps in {*range(1, 12), *range(bounds[0] - 2, bounds[0] + 3), *range(bounds[1] - 2, bounds[1] + 3)}:
            found = {code for _, code in codes([LabelSegment(0, steps, "a", Provenance.HUMAN)], steps, usual)}
            assert (FindingCode.SHORT in found) == (steps < bounds[0])
            assert (FindingCode.LONG in found) == (steps > bounds[1])
