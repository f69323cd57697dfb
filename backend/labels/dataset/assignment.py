"""Who labels what: "next for me", assignments, queues, and the episodes that are labelled twice."""

import math

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import utc_now
from backend.core.errors import InvalidError, NotFoundError
from backend.core.roles import Role
from backend.core.schemas import Page
from backend.identity.actor import Actor
from backend.labels.core.settings import Labelling
from backend.labels.dataset import repository
from backend.labels.dataset.repository import Item
from backend.labels.dataset.schemas import AssignIn, AssignOut, NextIn, Queue, SkippedOut, WorkOut
from backend.labels.dataset.service import dataset_row
from backend.labels.drafts import repository as draft_queries
from backend.labels.drafts.service import blank
from backend.labels.sets import repository as sets
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.document import Tier
from backend.tables.draft import SUBMITTED_STATES, Draft, WorkState
from backend.tables.episode import EpisodeRow, LabelState
from backend.tables.label_set import LabelSet
from backend.tables.user import User


def next_for(db: Session, me: Actor, studio: Studio, dataset_id: str, body: NextIn) -> list[WorkOut]:
    """What this person has open in the dataset, filled up to `count`; two people never get the same."""
    dataset = dataset_row(db, dataset_id, lock=True)
    settings = Labelling.model_validate(dataset.labelling)
    if body.tier is Tier.PLAN and not settings.plan_tier:
        raise InvalidError("This dataset has no second tier; an operator can switch it on in its labelling settings.")
    opened = [*repository.mine(me.id), LabelSet.dataset_id == dataset_id]
    have = repository.queue(db, opened, tier=body.tier, every=False, offset=0, limit=body.count)
    room = body.count - len(have)
    if room:
        given = _doubles(db, me, dataset_id, body, settings, room)
        given += _singles(db, me, dataset_id, body.tier, room - len(given))
        db.flush()
        if given:
            publish_after_commit(db, studio, "dataset", dataset_id)
        have = repository.queue(db, opened, tier=body.tier, every=False, offset=0, limit=body.count)
    return outs(db, me, have)


def _give(db: Session, item: Item, tier: Tier, rater: int, user_id: str) -> Draft:
    draft = item.draft
    if draft is None:
        draft = blank(item.row, tier, rater)
        if rater:  # what the first rater said about the episode is not for the second
            draft.success = draft.failure_step = draft.quality = None
            draft.tags = []
        db.add(draft)
    draft.assignee_id, draft.assigned_at = user_id, utc_now()
    if draft.state is WorkState.UNASSIGNED:
        draft.state = WorkState.CLAIMED
    return draft


def _singles(db: Session, me: Actor, dataset_id: str, tier: Tier, room: int) -> list[Draft]:
    """By number; not what this person labels as the second rater."""
    if room <= 0:
        return []
    free = repository.unlabelled() if tier is Tier.SUBSTEP else repository.free()
    where = [EpisodeRow.dataset_id == dataset_id, free, ~repository.any_second(me.id, tier)]
    found = repository.queue(db, where, tier=tier, every=True, offset=0, limit=room)
    return [_give(db, item, tier, 0, me.id) for item in found]


def _doubles(db: Session, me: Actor, dataset_id: str, body: NextIn, settings: Labelling, room: int) -> list[Draft]:
    """A share of the batch: episodes that somebody else is done with, in an order that chance (a hash) decides."""
    share = settings.double_percent / 100
    if share == 0:
        return []
    episodes, _ = sets.episodes(db, dataset_id)
    there = sum(sets.by_state(db, dataset_id, body.tier, 1).values())
    missing = min(math.ceil(share * episodes) - there, math.ceil(share * body.count), room)
    if missing <= 0:
        return []
    ids = repository.done_by_others(db, dataset_id, body.tier, me.id, missing)
    items = {item.row.id: item for item in repository.items(db, dataset_id, body.tier, 1, ids=ids)}
    return [_give(db, items[id], body.tier, 1, me.id) for id in ids]


def assign(db: Session, me: Actor, studio: Studio, dataset_id: str, body: AssignIn) -> AssignOut:
    dataset_row(db, dataset_id, lock=True)
    person = None if body.user_id is None else db.get(User, body.user_id)
    if body.user_id is not None and (person is None or person.disabled):
        raise NotFoundError("There is no such person, or their account is switched off.")
    if person is not None and not Role(person.role).allows(Role.ANNOTATOR):
        raise InvalidError(f"{person.name} may only look; an administrator can make them an annotator.")
    items = repository.items(db, dataset_id, body.tier, body.rater, ids=body.episode_ids, lock=True)
    beside = repository.items(db, dataset_id, body.tier, 1 - body.rater, ids=body.episode_ids)
    others = {item.row.id: item.draft for item in beside}
    assigned, skipped = [], []
    for item in items:
        reason = _not_assignable(item, others.get(item.row.id), body.user_id)
        if reason:
            skipped.append(SkippedOut(episode_id=item.row.id, number=item.row.number, reason=reason))
            continue
        if body.user_id is None:
            _take_back(db, item.draft)
        else:
            _give(db, item, body.tier, body.rater, body.user_id)
        assigned.append(item.row.id)
    unknown = set(body.episode_ids) - {item.row.id for item in items}
    if unknown:
        raise InvalidError(f"{len(unknown)} of the episodes are not in this dataset (any more).")
    record(db, me, "dataset.assign", dataset_id, to=body.user_id, episodes=len(assigned), rater=body.rater)
    db.flush()
    publish_after_commit(db, studio, "dataset", dataset_id)
    now = repository.items(db, dataset_id, body.tier, body.rater, ids=assigned)
    return AssignOut(assigned=outs(db, me, [one for one in now if one.draft is not None]), skipped=skipped)


def _not_assignable(item: Item, other: Draft | None, user_id: str | None) -> str | None:
    if item.held and item.draft is not None and item.draft.lease_holder != user_id:
        return "somebody is editing it"
    if item.draft is not None and item.draft.state in SUBMITTED_STATES:
        return f"it is {item.draft.state.value}"
    if user_id is None or other is None:
        return None
    if user_id in {other.assignee_id, other.submitted_by, other.updated_by, *other.contributors}:
        return "the same person would label it twice"
    return None


def _take_back(db: Session, draft: Draft | None) -> None:
    if draft is None:
        return
    draft.assignee_id = draft.assigned_at = None
    if draft.state is WorkState.CLAIMED:
        draft.state = WorkState.UNASSIGNED
    if draft.rater > 0 and draft.edit == 0:
        db.delete(draft)


def queue(
    db: Session,
    me: Actor,
    *,
    which: Queue,
    dataset_id: str | None,
    tier: Tier,
    state: WorkState | None,
    assignee: str | None,
    offset: int,
    limit: int,
) -> Page[WorkOut]:
    """By dataset and number. all: episodes that nobody has touched too."""
    every = which is Queue.ALL
    where: list[ColumnElement[bool]] = []
    if dataset_id is not None:
        where.append((EpisodeRow if every else LabelSet).dataset_id == dataset_id)
    if dataset_id is not None:
        dataset_row(db, dataset_id)
    if which is Queue.MINE:
        where += repository.mine(me.id)
    elif which is Queue.REVIEW:
        where += [
            LabelSet.layer == 0,
            LabelSet.state == WorkState.SUBMITTED,
            LabelSet.submitted_by != me.id,
            ~repository.blindly_labelled_by(me.id, tier),
        ]
    if state is WorkState.UNASSIGNED:
        where.append(repository.free())
    elif state is not None:
        where.append(LabelSet.state == state)
    if assignee is not None:
        where.append(LabelSet.assignee_id == assignee)
    total = repository.how_many(db, where, tier=tier, every=every)
    items = repository.queue(db, where, tier=tier, every=every, offset=offset, limit=limit)
    return Page(items=outs(db, me, items, tier=tier), total=total)


def outs(db: Session, me: Actor, items: list[Item], *, tier: Tier = Tier.SUBSTEP) -> list[WorkOut]:
    drafts = [item.draft for item in items if item.draft is not None]
    names = draft_queries.names(
        db, {who for one in drafts for who in (one.assignee_id, one.submitted_by, one.lease_holder)}
    )
    notes = repository.open_notes(db, [item.row.id for item in items])
    return [_out(me, item, item.draft or blank(item.row, tier, 0), names, notes) for item in items]


def _out(
    me: Actor, item: Item, draft: Draft, names: dict[str, str], notes: dict[tuple[str, Tier, int], int]
) -> WorkOut:
    settings = Labelling.model_validate(item.dataset.labelling)
    own = me.id in {draft.submitted_by, *draft.contributors}
    fps = item.row.fps or item.dataset.fps
    return WorkOut(
        episode_id=item.row.id,
        dataset_id=item.row.dataset_id,
        dataset_name=item.dataset.name,
        number=item.row.number,
        instruction=item.row.instruction,
        steps=item.row.steps,
        seconds=item.row.steps / fps if fps else None,
        tier=draft.tier,
        rater=draft.rater,
        double=draft.rater > 0,
        state=draft.state,
        label_state=LabelState(item.row.label_state),
        edit=draft.edit,
        segments=_texts(item, draft),
        assignee_id=draft.assignee_id,
        assignee_name=names.get(draft.assignee_id or ""),
        submitted_by_name=names.get(draft.submitted_by or ""),
        submitted_at=draft.submitted_at,
        updated_at=draft.updated_at if draft.edit else None,
        holder_name=names.get(draft.lease_holder or "") if item.held else None,
        open_notes=notes.get((item.row.id, draft.tier, draft.rater), 0),
        may_review=draft.state is WorkState.SUBMITTED
        and draft.rater == 0
        and not own
        and me.role.allows(settings.reviewer_role),
    )


def _texts(item: Item, draft: Draft) -> int:
    return sum(1 for segment in draft.segments if segment.text) if item.texts is None else item.texts
