"""The end of an edit's job: what it wrote becomes episodes, and the sources are set aside, all in one transaction."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import database_now, db_seconds
from backend.core.errors import ApiError
from backend.editing import repository
from backend.editing.labels import Moving, carry, settle_row
from backend.episodes import repository as episodes
from backend.intake.accept import refuse_misfit, take_over
from backend.intake.examine import facts_of
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction, EpisodeEdit
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.files import atomic_file, fsync_path
from dexvla.spec import Edit, Piece

_NO_LINKS = {errno.EPERM, errno.EACCES, errno.EXDEV, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
_SHARED = (
    "identity", "former_identity", "steps", "action_dim", "state_dim", "fps", "cameras", "sim", "robot", "task", "seed",
    "render_profile", "file_revision", "dimension_names",
)  # fmt: skip
Fenced = Callable[[], AbstractContextManager[Session]]


def place(studio: Studio, edit: EpisodeEdit, staged: Path) -> dict[str, dict[str, Any]]:
    """The files of all results where they belong: new ones from the folder `staged`, shared ones as links to the same
    bytes. Returns the facts of the new ones, by id. May be done twice. Raises OSError, EpisodeError."""
    folder = studio.settings.folder
    facts = {}
    for item in edit.items:
        target = folder.episode(edit.target_id, item["result"])
        target.parent.mkdir(parents=True, exist_ok=True)
        if item["edit"] is None:
            _share(folder.episode(edit.dataset_id, item["sources"][0]), target)
            continue
        made = staged / f"{item['result']}.hdf5"
        if made.exists():
            os.replace(made, target)
            os.utime(target)  # new without a row: nobody takes it for a stray
            fsync_path(target.parent)
        with open_episode(target) as opened:
            facts[item["result"]] = facts_of(opened, episode_identities(opened))
    return facts


def _share(source: Path, target: Path) -> None:
    """A file never changes after it was taken in, so that two episodes may be one file; where the file system has no
    such links it is copied."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise UserError(f"{source.name}: the file of an episode is gone; restore it from a backup") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with atomic_file(target) as temporary:
            shutil.copyfile(source, temporary)
    fsync_path(target.parent)


def unplace(studio: Studio, edit: EpisodeEdit) -> None:
    """Remove what `place` put there of an edit that did not come to its end."""
    for item in edit.items:
        if item["result"] is not None:
            with suppress(OSError):
                studio.settings.folder.episode(edit.target_id, item["result"]).unlink(missing_ok=True)


def finish(studio: Studio, edit_id: str, facts: dict[str, dict[str, Any]], fenced: Fenced) -> int:
    """List the results and set the sources aside; returns how many were made. Raises UserError where a source went
    away or is worked on, or a result does not fit into its dataset; nothing is changed then."""
    try:
        with fenced() as db:
            return _finish(db, studio, edit_id, facts)
    except ApiError as error:
        raise UserError(error.message) from error


def _finish(db: Session, studio: Studio, edit_id: str, facts: dict[str, dict[str, Any]]) -> int:
    edit = repository.by_id(db, edit_id, lock=True)
    assert edit is not None
    datasets = {key: db.get(Dataset, key, with_for_update=True) for key in sorted({edit.dataset_id, edit.target_id})}
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
        results.append(_list(db, studio, edit, item, sources, target, facts.get(item["result"])))
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
    facts: dict[str, Any] | None,
) -> dict[str, Any]:
    first = sources[0]
    what = None if item["edit"] is None else Edit.model_validate(item["edit"])
    row = EpisodeRow(
        id=item["result"],
        dataset_id=target.id,
        size_bytes=studio.settings.folder.episode(target.id, item["result"]).stat().st_size,
        source=first.source,
        original_name=first.original_name if len(sources) == 1 else None,
        created_by=edit.by_id,
        **(facts if facts is not None else {name: getattr(first, name) for name in _SHARED}),
    )
    pieces = (Piece(start=0, end=first.steps),) if what is None else what.pieces
    moving = Moving(
        row=row,
        sources=sources,
        pieces=pieces,
        ends=edit.action is not EditAction.SPLIT or pieces[-1].end == first.steps,
        instruction=row.instruction if facts is not None and edit.action is EditAction.JOIN else None,
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
