"""Keeps label_sets, label_set_segments and label_texts what the documents of drafts and revisions say.

With every flush of a session, in its transaction, so that whoever writes a draft or a revision as an object need not
know of them. What is written past the ORM is told with `rebuild`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, event, func, insert, inspect, select, update
from sqlalchemy.orm import Session

from backend.tables.document import Tier
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow
from backend.tables.label_history import HistoryKind, LabelHistory
from backend.tables.label_revision import LabelRevision
from backend.tables.label_set import FORMER, PUBLISHED, LabelSet, SetSegment
from backend.tables.label_text import LabelText
from backend.tables.segment import LabelSegment, Provenance

AT_ONCE = 500
_T = TypeVar("_T")
_Key = tuple[str, Tier, int]
_DRAFT = ("edit", "state", "assignee_id", "submitted_by", "updated_by", "updated_at", "success", "quality", "tags")


# put together once: fifty people save every two seconds
_SETS_OF = select(LabelSet.episode_id, LabelSet.tier, LabelSet.layer, LabelSet.id).where(
    LabelSet.episode_id.in_(bindparam("ids", expanding=True))
)
_TEXTS_OF = select(LabelText.text, LabelText.id).where(
    LabelText.dataset_id == bindparam("dataset"),
    LabelText.tier == bindparam("its_tier"),
    LabelText.text.in_(bindparam("texts", expanding=True)),
)
_REMOVE_PLACES = delete(SetSegment).where(
    SetSegment.set_id == bindparam("id"), SetSegment.place.in_(bindparam("places", expanding=True))
)
_CHANGE_SET = update(LabelSet).where(LabelSet.id == bindparam("of"))
_ADD_SEGMENTS = insert(SetSegment)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What a draft or revision is now. segments None: as they were. old: those that are in the table, if it is known; a
    save changes few of them."""

    episode_id: str
    tier: Tier
    layer: int
    values: dict[str, Any]
    segments: Sequence[LabelSegment] | None
    old: Sequence[LabelSegment] | None = None

    @property
    def key(self) -> _Key:
        return self.episode_id, self.tier, self.layer


@dataclass(frozen=True, kw_only=True)
class _Episode:
    dataset_id: str
    number: int
    steps: int
    identity: str
    gone: bool


def batches(items: Iterable[_T], size: int = AT_ONCE) -> Iterator[list[_T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


# --- from the session -----------------------------------------------------------------------------------------


@event.listens_for(Session, "after_flush")
def _after_flush(session: Session, context: Any) -> None:
    drafts = [one for one in session.new if isinstance(one, Draft)]
    drafts += [one for one in session.dirty if isinstance(one, Draft) and _changed(one, (*_DRAFT, "segments"))]
    revisions = [one for one in session.new if isinstance(one, LabelRevision)]
    removed = [one for one in session.deleted if isinstance(one, Draft)]
    anew = {one.episode_id for one in session.deleted if isinstance(one, LabelRevision)}
    episodes = [
        one for one in session.dirty if isinstance(one, EpisodeRow) and _changed(one, ("deleted_at", "identity"))
    ]
    if not (drafts or revisions or removed or episodes or anew):
        return
    connection = session.connection()
    for draft in removed:
        _remove(connection, draft.episode_id, LabelSet.tier == draft.tier, LabelSet.layer == draft.rater)
    for row in episodes:
        if row.deleted_at is not None:
            _forget(connection, row.id)
        elif _changed(row, ("deleted_at",)):  # it is back
            anew.add(row.id)
        else:
            named = update(LabelSet).where(LabelSet.episode_id == row.id)
            connection.execute(named.values(chance=_chance(row.identity)))
    _renew(connection, sorted(anew))
    drafts = [one for one in drafts if one.episode_id not in anew]
    revisions = [one for one in revisions if one.episode_id not in anew]
    about = _episodes(session, {one.episode_id for one in drafts} | {one.episode_id for one in revisions})
    entries = [
        _of_draft(one, changed=one in session.new or _changed(one, ("segments",)), old=_before(one)) for one in drafts
    ]
    newest = {(one.episode_id, one.tier): one for one in sorted(revisions, key=lambda one: one.number)}
    entries += [_of_revision(one, gone=about[one.episode_id].gone) for one in newest.values()]
    _write(connection, entries, about)


def _changed(row: Any, names: Iterable[str]) -> bool:
    state = inspect(row)
    return any(state.attrs[name].history.has_changes() for name in names)


def _before(draft: Draft) -> Sequence[LabelSegment] | None:
    """The segments that this flush replaces, if they were read."""
    replaced = inspect(draft).attrs.segments.history.deleted
    return replaced[0] if replaced else None


def _remove(connection: Connection, episode_id: str, *where: Any) -> None:
    connection.execute(delete(LabelSet).where(LabelSet.episode_id == episode_id, *where))


def _forget(connection: Connection, episode_id: str) -> None:
    """The episode was deleted."""
    _remove(connection, episode_id, LabelSet.layer >= 0)
    sets = select(LabelSet.id).where(LabelSet.episode_id == episode_id)
    connection.execute(update(SetSegment).where(SetSegment.set_id.in_(sets)).values(layer=FORMER))
    connection.execute(update(LabelSet).where(LabelSet.episode_id == episode_id).values(layer=FORMER))


def _episodes(session: Session, ids: set[str]) -> dict[str, _Episode]:
    found = {}
    for id in ids:
        row = session.identity_map.get(session.identity_key(EpisodeRow, id))
        if row is not None:
            found[id] = _Episode(
                dataset_id=row.dataset_id,
                number=row.number,
                steps=row.steps,
                identity=row.identity,
                gone=row.deleted_at is not None,
            )
    return found | _stored(session.connection(), ids - found.keys())


def _stored(connection: Connection, ids: Iterable[str]) -> dict[str, _Episode]:
    columns = (EpisodeRow.id, EpisodeRow.dataset_id, EpisodeRow.number, EpisodeRow.steps, EpisodeRow.identity)
    found = {}
    for some in batches(ids):
        query = select(*columns, EpisodeRow.deleted_at).where(EpisodeRow.id.in_(some))
        for id, dataset_id, number, steps, identity, deleted_at in connection.execute(query):
            gone = deleted_at is not None
            found[id] = _Episode(dataset_id=dataset_id, number=number, steps=steps, identity=identity, gone=gone)
    return found


def _of_draft(draft: Any, *, changed: bool, old: Sequence[LabelSegment] | None = None) -> _Entry:
    values = {
        "edit": draft.edit,
        "state": draft.state,
        "assignee_id": draft.assignee_id,
        "submitted_by": draft.submitted_by,
        "person": draft.updated_by or draft.assignee_id,
        "updated_at": draft.updated_at,
        "success": draft.success,
        "quality": draft.quality,
        "tags": json.dumps(draft.tags),
    }
    segments = draft.segments if changed else None
    about = {"episode_id": draft.episode_id, "tier": draft.tier, "layer": draft.rater}
    return _Entry(**about, values=values, segments=segments, old=old)


def _of_revision(revision: Any, *, gone: bool) -> _Entry:
    values = {
        "edit": revision.number,
        "state": None,
        "assignee_id": None,
        "submitted_by": None,
        "person": revision.published_by,
        "updated_at": revision.created_at,
        "success": revision.success,
        "quality": revision.quality,
        "tags": json.dumps(revision.tags),
    }
    layer = FORMER if gone else PUBLISHED
    about = {"episode_id": revision.episode_id, "tier": revision.tier, "layer": layer}
    return _Entry(**about, values=values, segments=revision.segments)


# --- into the tables ------------------------------------------------------------------------------------------


def _chance(identity: str) -> str:
    return hashlib.sha256(f"double {identity}".encode()).hexdigest()[:16]


def sums(segments: Sequence[LabelSegment]) -> dict[str, int]:
    with_text = [one for one in segments if one.text]
    steps = sum(one.end - one.start for one in with_text)
    made = Counter(one.provenance for one in segments)
    machine = {"accepted": made[Provenance.MACHINE_ACCEPTED], "edited": made[Provenance.MACHINE_EDITED]}
    return {"parts": len(segments), "texts": len(with_text), "labelled_steps": steps, **machine}


def _write(connection: Connection, entries: Sequence[_Entry], about: dict[str, _Episode]) -> None:
    living = (one for one in entries if one.layer < 0 or not about[one.episode_id].gone)
    for some in batches(living):
        _write_some(connection, some, about)


def _write_some(connection: Connection, entries: Sequence[_Entry], about: dict[str, _Episode]) -> None:
    there = _ids(connection, entries)
    renewed = [there.pop(one.key) for one in entries if one.layer < 0 and one.key in there]
    if renewed:  # a number of its own for each revision: by it others see that there is another
        connection.execute(delete(LabelSet).where(LabelSet.id.in_(renewed)))
    fresh = [_row(one, about[one.episode_id]) for one in entries if one.key not in there]
    if fresh:
        connection.execute(insert(LabelSet), fresh)
    for one in entries:
        if one.key in there:
            values = one.values if one.segments is None else _row(one, about[one.episode_id])
            connection.execute(_CHANGE_SET, {"of": there[one.key], **values})
    ids = there if not fresh else _ids(connection, entries)
    changed = [one for one in entries if one.segments is not None]
    whole = [there[one.key] for one in changed if one.key in there and one.old is None]
    if whole:
        connection.execute(delete(SetSegment).where(SetSegment.set_id.in_(whole)))
    rows: list[tuple[_Entry, list[_Row]]] = []
    for one in changed:
        new, old = _rows(one.segments or ()), _rows(one.old or ()) if one.key in there else []
        fresh_rows = [row for row in new if row.place >= len(old) or row != old[row.place]]
        gone = [row.place for row in fresh_rows if row.place < len(old)] + list(range(len(new), len(old)))
        if gone:
            connection.execute(_REMOVE_PLACES, {"id": ids[one.key], "places": gone})
        rows.append((one, fresh_rows))
    _insert(connection, rows, ids, about)


class _Row(NamedTuple):
    place: int
    text: str
    before: str | None
    length: int
    provenance: Provenance
    first: bool


def _rows(segments: Sequence[LabelSegment]) -> list[_Row]:
    found: list[_Row] = []
    before, seen = None, set()
    for place, one in enumerate(segments):
        found.append(_Row(place, one.text, before, one.end - one.start, one.provenance, one.text not in seen))
        seen.add(one.text)
        before = one.text
    return found


def _insert(
    connection: Connection,
    rows: Sequence[tuple[_Entry, list[_Row]]],
    ids: dict[_Key, int],
    about: dict[str, _Episode],
) -> None:
    texts: dict[tuple[str, Tier], set[str]] = {}
    for one, its in rows:
        wanted = texts.setdefault((about[one.episode_id].dataset_id, one.tier), set())
        wanted.update(row.text for row in its)
        wanted.update(row.before for row in its if row.before is not None)
    numbers = {key: _text_ids(connection, *key, wanted) for key, wanted in texts.items()}
    values = []
    for one, its in rows:
        known = numbers[about[one.episode_id].dataset_id, one.tier]
        for row in its:
            values.append(
                {
                    "set_id": ids[one.key],
                    "place": row.place,
                    "text_id": known[row.text],
                    "before_id": None if row.before is None else known[row.before],
                    "layer": one.layer,
                    "length": row.length,
                    "provenance": row.provenance,
                    "first": row.first,
                }
            )
    if values:
        connection.execute(_ADD_SEGMENTS, values)


def _ids(connection: Connection, entries: Sequence[_Entry]) -> dict[_Key, int]:
    wanted = {one.key for one in entries}
    found = connection.execute(_SETS_OF, {"ids": list({one.episode_id for one in entries})})
    return {(row[0], row[1], row[2]): row[3] for row in found if (row[0], row[1], row[2]) in wanted}


def _row(one: _Entry, episode: _Episode) -> dict[str, Any]:
    assert one.segments is not None
    return {
        **one.values,
        **sums(one.segments),
        "dataset_id": episode.dataset_id,
        "episode_id": one.episode_id,
        "tier": one.tier,
        "layer": one.layer,
        "number": episode.number,
        "steps": episode.steps,
        "misfit": (one.segments[-1].end if one.segments else 0) != episode.steps,
        "chance": _chance(episode.identity),
    }


def _text_ids(connection: Connection, dataset_id: str, tier: Tier, wanted: set[str]) -> dict[str, int]:
    """Their numbers; those that are new get one. In one order, so that two writers do not wait for each other."""
    found = _known_texts(connection, dataset_id, tier, wanted)
    missing = sorted(wanted - found.keys())
    if not missing:
        return found
    rows = [{"dataset_id": dataset_id, "tier": tier, "text": text, "folded": text.casefold()} for text in missing]
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    known = ["dataset_id", "tier", "text"]  # any other conflict is an error, and is told
    connection.execute(upsert(LabelText).on_conflict_do_nothing(index_elements=known), rows)
    return found | _known_texts(connection, dataset_id, tier, set(missing))


def _known_texts(connection: Connection, dataset_id: str, tier: Tier, wanted: set[str]) -> dict[str, int]:
    return {
        text: id
        for some in batches(wanted)
        for text, id in connection.execute(_TEXTS_OF, {"dataset": dataset_id, "its_tier": tier, "texts": some})
    }


def rebuild(connection: Connection, dataset_id: str) -> None:
    """Anew from what drafts and revisions of a dataset hold; for those that were written past the ORM."""
    connection.execute(delete(LabelSet).where(LabelSet.dataset_id == dataset_id))
    ids = list(connection.scalars(select(EpisodeRow.id).where(EpisodeRow.dataset_id == dataset_id)))
    _renew(connection, ids)


def _renew(connection: Connection, ids: Sequence[str]) -> None:
    """Anew from what the tables hold of these episodes, whatever was known of them."""
    for some in batches(ids):
        connection.execute(delete(LabelSet).where(LabelSet.episode_id.in_(some)))
        drafts = connection.execute(select(Draft.__table__).where(Draft.episode_id.in_(some)))
        entries = [_of_draft(one, changed=True) for one in drafts]
        newest = (
            select(LabelRevision.episode_id, LabelRevision.tier, func.max(LabelRevision.number).label("number"))
            .where(LabelRevision.episode_id.in_(some))
            .group_by(LabelRevision.episode_id, LabelRevision.tier)
            .subquery()
        )
        same = and_(LabelRevision.episode_id == newest.c.episode_id, LabelRevision.tier == newest.c.tier)
        revisions = select(LabelRevision.__table__).join(newest, and_(same, LabelRevision.number == newest.c.number))
        about = _stored(connection, some)
        entries += [_of_revision(one, gone=about[one.episode_id].gone) for one in connection.execute(revisions)]
        _write(connection, entries, about)


# --- history --------------------------------------------------------------------------------------------------


@event.listens_for(LabelHistory, "before_insert")
def _summed(mapper: Any, connection: Connection, entry: LabelHistory) -> None:
    """Of what was submitted, what the figures about people count."""
    if entry.kind == HistoryKind.SUBMITTED:
        found = sums(entry.segments)
        entry.texts, entry.labelled_steps = found["texts"], found["labelled_steps"]
        entry.accepted, entry.edited = found["accepted"], found["edited"]
