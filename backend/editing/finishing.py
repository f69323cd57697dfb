"""The end of an edit's job: what it wrote becomes episodes, and the sources are set aside, all in one transaction."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import database_now, db_seconds
from backend.core.errors import ApiError, NotFoundError
from backend.editing import repository
from backend.editing.labels import Moving, carry, settle_row
from backend.episodes import repository as episodes
from backend.episodes.files import episode_key, file_of
from backend.intake.accept import refuse_misfit, take_over
from backend.intake.examine import facts_of
from backend.store.base import StoreAwayError, Stored
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction, EpisodeEdit
from dexvla.checksums import file_sha256
from dexvla.episodes.facts import read_facts
from dexvla.episodes.known import KnownEpisodes
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.files import NO_LINKS, atomic_file, fsync_path, write_json
from dexvla.spec import Edit, Piece

_SHARED = (
    "identity", "former_identity", "steps", "action_dim", "state_dim", "fps", "cameras", "sim", "robot", "task", "seed",
    "render_profile", "file_revision", "dimension_names", "size_bytes", "sha256",
)  # fmt: skip
Fenced = Callable[[], AbstractContextManager[Session]]


def place(studio: Studio, edit: EpisodeEdit, staged: Path) -> dict[str, dict[str, Any]]:
    """The files of all results in the store: new ones from the folder `staged`, shared ones as another name of the same
    bytes. Returns the columns of their rows, by id. May be done twice. Raises OSError, EpisodeError, UserError for a
    file that is gone, StoreAwayError."""
    with studio.db.transaction(write=False) as db:
        rows = repository.episodes(db, [one["episode_id"] for one in edit.sources])
    known = KnownEpisodes.below(studio.settings.folder.cache)
    found = {}
    for item in edit.items:
        result = item["result"]
        if item["edit"] is None:
            source = rows[item["sources"][0]]
            found[result] = {name: getattr(source, name) for name in _SHARED}
            _share(studio, source, _stored(edit, result, found[result]))
            continue
        made, told = staged / f"{result}.hdf5", staged / f"{result}.json"
        if made.exists():
            with open_episode(made) as opened:
                read = read_facts(opened)
                facts = facts_of(opened, read.names)
            sha256 = file_sha256(made)
            known.keep(sha256, read)
            facts |= {"size_bytes": made.stat().st_size, "sha256": sha256}
            write_json(told, facts)
            os.utime(made)  # new without a row: nobody takes it for a stray
            studio.store.put(made, _stored(edit, result, facts))
        found[result] = json.loads(told.read_bytes())
    return found


def _stored(edit: EpisodeEdit, episode_id: str, columns: dict[str, Any]) -> Stored:
    return Stored(key=episode_key(edit.target_id, episode_id), sha256=columns["sha256"], size=columns["size_bytes"])


def _share(studio: Studio, source: EpisodeRow, target: Stored) -> None:
    """A file never changes after it was taken in, so that two episodes may be one file; where the file system has no
    such links it is copied."""
    if studio.store.size(target.key) is not None:
        return
    try:
        path = file_of(studio, source)
    except NotFoundError as error:
        raise UserError(f"the file of episode {source.number} is gone; restore it from a backup") from error
    if studio.store.remote:
        studio.store.share(path, target)
        return
    there = studio.settings.data / target.key
    there.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, there)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with atomic_file(there) as temporary:
            shutil.copyfile(path, temporary)
    fsync_path(there.parent)


def unplace(studio: Studio, edit: EpisodeEdit) -> None:
    """Remove what `place` put there of an edit that did not come to its end."""
    keys = [episode_key(edit.target_id, item["result"]) for item in edit.items if item["result"] is not None]
    with suppress(OSError, StoreAwayError):  # it has no row, and is told as such
        studio.store.delete(keys)


def finish(studio: Studio, edit_id: str, facts: dict[str, dict[str, Any]], fenced: Fenced) -> int:
    """List the results and set the sources aside; returns how many were made. Raises UserError where a source went
    away or is worked on, or a result does not fit into its dataset or lost its file; nothing is changed then. Raises
    StoreAwayError."""
    _refuse_lost(studio, edit_id, facts)
    try:
        with fenced() as db:
            return _finish(db, studio, edit_id, facts)
    except ApiError as error:
        raise UserError(error.message) from error


def _refuse_lost(studio: Studio, edit_id: str, facts: dict[str, dict[str, Any]]) -> None:
    """Before the transaction, which holds others up: a store elsewhere is asked for each file."""
    with studio.db.transaction(write=False) as db:
        edit = repository.by_id(db, edit_id)
    assert edit is not None
    files = [_stored(edit, result, columns) for result, columns in facts.items()]
    lost = sum(studio.store.size(one.key) is None for one in files)
    if lost:
        raise UserError(
            f"{lost} of the {len(files)} new files are not in {studio.store.name} any more; something else moved or "
            "removed them. Nothing was changed; do the edit again"
        )


def _finish(db: Session, studio: Studio, edit_id: str, facts: dict[str, dict[str, Any]]) -> int:
    datasets = repository.lock_datasets(db, repository.datasets_of(db, edit_id))
    edit = repository.by_id(db, edit_id, lock=True)
    if edit is None:
        raise UserError("the dataset of these episodes was deleted meanwhile")
    target = datasets[edit.target_id]
    if target is None:
        raise UserError("the dataset for the new episodes was deleted; choose another one")
    ids = [one["episode_id"] for one in edit.sources]
    rows = repository.episodes(db, ids, lock=True)
    refuse_gone(edit, rows)
    refuse_held(db, rows)
    moment = database_now(db)
    if edit.sets_aside:
        for row in rows.values():
            row.deleted_at = moment
    db.flush()
    results = []
    for item in edit.items:
        sources = [rows[key] for key in item["sources"]]
        results.append(_list(db, studio, edit, item, sources, target, facts[item["result"]]))
    edit.results, edit.finished_at = results, moment
    record(
        db, None, "dataset.edit", edit.id, what=edit.action.value, dataset=edit.dataset_id, into=edit.target_id,
        by=edit.by_name, sources=len(ids), results=len(results),
    )  # fmt: skip
    for key in datasets:
        publish_after_commit(db, studio, "dataset", key)
    for key in ids:
        publish_after_commit(db, studio, "episode", key)
    return len(results)


def refuse_gone(edit: EpisodeEdit, rows: dict[str, EpisodeRow]) -> None:
    gone = [one["number"] for one in edit.sources if (row := rows.get(one["episode_id"])) is None or row.deleted_at]
    if gone:
        raise UserError(f"episode {listed(gone)} was edited or deleted meanwhile; look again and begin anew")


def refuse_held(db: Session, rows: dict[str, EpisodeRow]) -> None:
    """Raises UserError while somebody labels one of them: what they save would go to an episode that is hidden."""
    now = db.scalar(db_seconds().select())
    held = sorted(
        {rows[draft.episode_id].number for draft in repository.all_drafts(db, list(rows)) if draft.held(now or 0.0)}
    )
    if held:
        raise UserError(
            f"somebody is labelling episode {listed(held)} at the moment; try again when they have finished"
        )


def listed(numbers: list[int]) -> str:
    """ "3, 4, 7 and 5 more" """
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"


def _list(
    db: Session,
    studio: Studio,
    edit: EpisodeEdit,
    item: dict[str, Any],
    sources: list[EpisodeRow],
    target: Dataset,
    facts: dict[str, Any],
) -> dict[str, Any]:
    first = sources[0]
    what = None if item["edit"] is None else Edit.model_validate(item["edit"])
    row = EpisodeRow(
        id=item["result"],
        dataset_id=target.id,
        source=first.source,
        original_name=first.original_name if len(sources) == 1 else None,
        created_by=edit.by_id,
        **facts,
    )
    pieces = (Piece(start=0, end=first.steps),) if what is None else what.pieces
    moving = Moving(
        row=row,
        sources=sources,
        pieces=pieces,
        ends=edit.action is not EditAction.SPLIT or pieces[-1].end == first.steps,
        instruction=row.instruction if what is not None and edit.action is EditAction.JOIN else None,
    )
    settle_row(moving)
    name = f"Episode {first.number}"
    twin = episodes.by_identity(db, target.id, row.identity, row.former_identity)
    if twin is not None:
        raise UserError(f"{name} is in {target.name} already, as episode {twin.number}; leave it out")
    if episodes.any_episode(db, target.id) is None:
        take_over(target, row)
    refuse_misfit(target, row, name)
    if target.fps is None:
        target.fps = row.fps
    row.number = target.next_number
    target.next_number += 1
    db.add(row)
    db.flush()
    marks = carry(db, moving)
    return {"episode_id": row.id, "number": row.number, "steps": row.steps, "marks": marks}
