"""Edits of episodes: looked at, queued, listed and undone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import database_now, new_id
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.datasets import repository as datasets
from backend.datasets import service as dataset_service
from backend.datasets.schemas import DatasetIn
from backend.editing import repository
from backend.editing.finishing import listed, refuse_held
from backend.editing.jobs import EditPayload
from backend.editing.planning import SHARED, SUBSTEPS, Item, plan, shown
from backend.editing.schemas import MOST_EPISODES, EditIn, EditOut, EditPreview, EpisodeRef, MadeOut, PlannedOut
from backend.episodes import repository as episodes
from backend.episodes.files import place, stored
from backend.identity.actor import Actor
from backend.intake.accept import MisfitError, refuse_misfit, take_over
from backend.jobs import service as jobs
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction, EpisodeEdit
from backend.tables.job import JobKind
from dexvla.errors import UserError

_LISTED = 200
_WORDS = {
    EditAction.KEEP: "Keep a part of",
    EditAction.CUT: "Cut",
    EditAction.TRIM_IDLE: "Trim",
    EditAction.DROP_IDLE: "Drop rest of",
    EditAction.SPLIT: "Split",
    EditAction.JOIN: "Join",
    EditAction.RENAME: "Rename in",
    EditAction.MOVE: "Move",
    EditAction.COPY: "Copy",
    EditAction.DELETE: "Delete",
}


def preview(studio: Studio, dataset_id: str, body: EditIn) -> EditPreview:
    """What the edit would make; changes nothing."""
    rows, _, outs, skipped = _planned(studio, dataset_id, body)
    return EditPreview(
        items=outs,
        steps_before=sum(row.steps for row in rows if row not in skipped),
        steps=sum(out.steps for out in outs),
        problems=sum(out.problem is not None for out in outs),
        skipped=[EpisodeRef(episode_id=row.id, number=row.number) for row in skipped],
    )


def create(me: Actor, studio: Studio, dataset_id: str, body: EditIn) -> EditOut:
    """Queue it. Raises NotFoundError, InvalidError for what cannot be made, ConflictError while somebody labels one of
    the episodes."""
    rows, items, outs, _ = _planned(studio, dataset_id, body)
    wrong = next((out for out in outs if out.problem is not None), None)
    if wrong is not None:
        raise InvalidError(f"Episode {wrong.sources[0].number}: {wrong.problem}")
    if not items:
        raise InvalidError("Nothing rests in these episodes; there is nothing to leave out.")
    with studio.db.transaction() as db:  # the job looks again at what changed since
        return _queue(db, me, studio, _dataset(db, dataset_id), body, rows, items)


def _planned(
    studio: Studio, dataset_id: str, body: EditIn
) -> tuple[list[EpisodeRow], list[Item], list[PlannedOut], list[EpisodeRow]]:
    """(rows, what would be made, the same for people, rows that stay as they are). Files are read in no transaction:
    nobody who writes waits for a disk or a store."""
    with studio.db.transaction(write=False) as db:
        rows = _rows(db, _dataset(db, dataset_id), body)
        problems = _refused(db, dataset_id, rows, body)
        drafts = {draft.episode_id: draft for draft in repository.drafts(db, [row.id for row in rows], SUBSTEPS)}
    items, skipped = plan(studio, rows, body)
    items = [replace(item, problem=item.problem or problems.get(item.sources[0].id)) for item in items]
    return rows, items, [shown(item, drafts) for item in items], skipped


def _refused(db: Session, dataset_id: str, rows: Sequence[EpisodeRow], body: EditIn) -> dict[str, str]:
    """What the job would refuse because of the dataset that the results go to, in words, by the sources' ids."""
    target = None if body.target_name is not None else _dataset(db, body.target_id or dataset_id)
    if target is None:
        return {}
    at_home = target.id == dataset_id
    found = {}
    if body.action in SHARED and not at_home:
        twins = repository.twins(db, target.id, rows)
        found = {
            key: f"it is in {target.name} already, as episode {number}; leave it out" for key, number in twins.items()
        }
    going = {row.id for row in rows} if at_home else set()
    if not repository.has_others(db, target.id, going):  # it becomes like the first
        return found
    for row in rows:
        cameras = sorted(body.cameras.get(camera["name"], camera["name"]) for camera in row.cameras)
        try:
            refuse_misfit(target, row, "", cameras=cameras)
        except MisfitError as error:
            advice = ", or choose all episodes of the dataset" if at_home and body.action is EditAction.RENAME else ""
            found.setdefault(row.id, "; ".join(error.errors) + advice)
    return found


def _queue(
    db: Session,
    me: Actor,
    studio: Studio,
    dataset: Dataset,
    body: EditIn,
    rows: Sequence[EpisodeRow],
    items: Sequence[Item],
) -> EditOut:
    try:
        refuse_held(db, {row.id: row for row in rows})
    except UserError as error:
        raise ConflictError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    target = _target(db, me, dataset, body)
    used = list(dict.fromkeys(row.id for item in items for row in item.sources))
    numbers = {row.id: row.number for row in rows}
    edit = EpisodeEdit(
        id=new_id(),
        dataset_id=dataset.id,
        target_id=target.id,
        action=body.action,
        items=[_stored(item) for item in items],
        sources=[{"episode_id": key, "number": numbers[key]} for key in used],
        by_id=me.id,
        by_name=me.name,
    )
    what = f"{len(used)} {'episode' if len(used) == 1 else 'episodes'}"
    into = "" if target.id == dataset.id else f" into {target.name}"
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.EDIT,
        title=f"{_WORDS[body.action]} {what}{into}: {dataset.name}",
        payload=EditPayload(edit_id=edit.id),
        subject_id=dataset.id,
        total=len(items),
    )
    edit.job_id = job.id
    db.add(edit)
    db.flush()
    publish_after_commit(db, studio, "dataset", dataset.id)
    return _outs(db, studio, [edit])[0]


def edits(db: Session, studio: Studio, dataset_id: str) -> list[EditOut]:
    """Of its episodes or into it, newest first."""
    _dataset(db, dataset_id)
    return _outs(db, studio, repository.of_dataset(db, dataset_id, limit=_LISTED))


def _dataset(db: Session, dataset_id: str) -> Dataset:
    row = datasets.by_id(db, dataset_id)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return row


def _rows(db: Session, dataset: Dataset, body: EditIn) -> list[EpisodeRow]:
    """In the order in which they were named. Raises InvalidError for one that is not there."""
    there = {row.id: row for row in episodes.of_dataset(db, dataset.id)}
    if body.episode_ids is None:
        if not there:
            raise InvalidError("The dataset has no episodes.")
        if len(there) > MOST_EPISODES:
            raise InvalidError(
                f"The dataset has {len(there)} episodes; one edit takes {MOST_EPISODES} at most. Choose some of them, "
                "and the others in further edits."
            )
        return list(there.values())
    wanted = list(dict.fromkeys(body.episode_ids))
    if missing := [key for key in wanted if key not in there]:
        raise InvalidError(f"{len(missing)} of the chosen episodes are not in this dataset (any more).")
    return [there[key] for key in wanted]


def _target(db: Session, me: Actor, dataset: Dataset, body: EditIn) -> Dataset:
    if body.target_name is not None:
        made = dataset_service.create_dataset(db, me, DatasetIn(name=body.target_name))
        return db.get_one(Dataset, made.id)
    if body.target_id is None or body.target_id == dataset.id:
        if body.action in {EditAction.MOVE, EditAction.COPY}:
            raise InvalidError("The episodes are in this dataset already; choose another one.")
        return dataset
    return _dataset(db, body.target_id)


def _stored(item: Item) -> dict[str, object]:
    return {
        "sources": [row.id for row in item.sources],
        "result": new_id(),
        "edit": None if item.edit is None else item.edit.model_dump(mode="json"),
    }


# --- undo -------------------------------------------------------------------------------------------------------


def undo(db: Session, me: Actor, studio: Studio, dataset_id: str, edit_id: str) -> EditOut:
    """The sources are back and the results set aside. Raises ConflictError, naming the episodes, where somebody has
    labelled a result or a version lists it since; nothing is changed then."""
    gone = _gone_files(studio, edit_id)
    found = repository.lock_datasets(db, repository.datasets_of(db, edit_id))
    edit = repository.by_id(db, edit_id, lock=True)
    if edit is None or dataset_id not in {edit.dataset_id, edit.target_id}:
        raise NotFoundError("This dataset has no such edit.")
    dataset = found[edit.dataset_id]
    assert dataset is not None
    if edit.finished_at is None:
        raise ConflictError("This edit is not done; cancel its job instead.", detail={"job_id": edit.job_id})
    if edit.undone_at is not None:
        raise ConflictError(f"{edit.undone_by_name or 'Somebody'} has undone this already.")
    moment = database_now(db)
    if moment > edit.finished_at + timedelta(days=studio.settings.undo_days):
        raise ConflictError(f"Edits can be undone for {studio.settings.undo_days:g} days; these are over.")
    sources = repository.episodes(db, [one["episode_id"] for one in edit.sources], lock=True)
    results = repository.episodes(db, [one["episode_id"] for one in edit.results], lock=True)
    if found[edit.target_id] is not None:  # else its dataset was deleted, and the results with it
        _refuse_used(db, edit, results)
    if edit.sets_aside:
        _refuse_lost(edit, sources, gone)
    for row in results.values():
        row.deleted_at = moment
    db.flush()
    if edit.sets_aside:
        _bring_back(db, dataset, [sources[one["episode_id"]] for one in edit.sources])
    edit.undone_at, edit.undone_by_name = moment, me.name
    record(db, me, "dataset.undo_edit", edit.id, what=edit.action.value, dataset=edit.dataset_id)
    db.flush()
    for key in found:
        publish_after_commit(db, studio, "dataset", key)
    for key in (*sources, *results):
        publish_after_commit(db, studio, "episode", key)
    return _outs(db, studio, [edit])[0]


def _refuse_used(db: Session, edit: EpisodeEdit, results: dict[str, EpisodeRow]) -> None:
    marks = {one["episode_id"]: one["marks"] for one in edit.results}
    gone = [one["number"] for one in edit.results if (row := results.get(one["episode_id"])) is None or row.deleted_at]
    if gone:
        raise ConflictError(f"Episode {listed(gone)} was edited or deleted since; undo that first.")
    versions = repository.versions_with(db, [edit.target_id])
    for row in results.values():
        if row.id in versions:
            raise ConflictError(
                f"Episode {row.number} is part of version {', '.join(map(str, versions[row.id]))}, which must stay as "
                "it is."
            )
    labelled = {results[episode_id].number for episode_id in repository.noted(db, list(results))}
    for draft in repository.all_drafts(db, list(results)):
        known = marks[draft.episode_id] if draft.rater == 0 else {}
        if draft.edit != known.get(draft.tier.value, 0) or _reviewed(draft, known.get(f"{draft.tier.value}_state")):
            labelled.add(results[draft.episode_id].number)
    for episode_id, count in repository.revision_counts(db, list(results)).items():
        if count > sum(name.endswith("_revision") for name in marks[episode_id]):
            labelled.add(results[episode_id].number)
    if labelled:
        raise ConflictError(
            f"Somebody has labelled episode {listed(sorted(labelled))} since, or reviewed its labels; undoing the edit "
            "would hide that work."
        )
    try:
        refuse_held(db, results)
    except UserError as error:
        raise ConflictError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def _reviewed(draft: Draft, before: str | None) -> bool:
    """Whether somebody submitted, approved or sent back its labels; who only opened it has done nothing yet.

    before: its state when it was made; None: it was not there, or an older studio did not write it down.
    """
    if draft.state in {WorkState.UNASSIGNED, WorkState.CLAIMED}:
        return False
    return draft.state.value != before if before is not None else draft.edit == 0


def _gone_files(studio: Studio, edit_id: str) -> set[str]:
    """Ids of the sources whose files are not there. Asked before the transaction, which holds others up: a store
    elsewhere is asked for each."""
    with studio.db.transaction(write=False) as db:
        edit = repository.by_id(db, edit_id)
        rows = {} if edit is None else repository.episodes(db, [one["episode_id"] for one in edit.sources])
    return {key for key, row in rows.items() if studio.store.size(stored(row).key) is None}


def _refuse_lost(edit: EpisodeEdit, sources: dict[str, EpisodeRow], gone: set[str]) -> None:
    lost = [
        one["number"]
        for one in edit.sources
        if (row := sources.get(one["episode_id"])) is None or row.freed_at is not None or row.id in gone
    ]
    if lost:
        raise ConflictError(f"The file of episode {listed(lost)} is gone; a backup may still have it.")


def _bring_back(db: Session, dataset: Dataset, rows: Sequence[EpisodeRow]) -> None:
    for row in rows:
        if row.deleted_at is None:
            raise ConflictError(f"Episode {row.number} is back already.")
        twin = episodes.by_identity(db, dataset.id, row.identity, row.former_identity)
        if twin is not None:
            raise ConflictError(
                f"Episode {row.number} was taken in again meanwhile, as episode {twin.number}; delete that one first."
            )
        if episodes.any_episode(db, dataset.id) is None:
            take_over(dataset, row)
        refuse_misfit(dataset, row, f"Episode {row.number}")
        row.deleted_at = None
        db.flush()


# --- for good ---------------------------------------------------------------------------------------------------


def free(studio: Studio) -> int:
    """Remove the files of episodes that were set aside longer ago than edits can be undone; returns how many. Those
    that a dataset version lists stay for as long as it does. Raises SQLAlchemyError, FilesLeftError."""
    with studio.db.transaction() as db:
        moment = database_now(db)
        rows = repository.set_aside_before(db, moment - timedelta(days=studio.settings.undo_days))
        needed = repository.versions_with(db, {row.dataset_id for row in rows})
        going = [row for row in rows if row.id not in needed]
        for row in going:
            row.freed_at = moment
            record(db, None, "episode.free", row.id, dataset=row.dataset_id, number=row.number)
        folder = studio.settings.folder
        remove_files_after_commit(db, studio, "An edited episode", [place(folder, row) for row in going])
    return len(going)


# --- for people -------------------------------------------------------------------------------------------------


def _outs(db: Session, studio: Studio, rows: Sequence[EpisodeEdit]) -> list[EditOut]:
    of_jobs = jobs.jobs_out(db, {row.job_id for row in rows if row.job_id is not None})
    names = repository.names(db, {row.target_id for row in rows})
    aside = repository.episodes(db, {one["episode_id"] for row in rows for one in row.sources})
    versions = repository.versions_with(db, {row.dataset_id for row in rows})
    moment = database_now(db)
    days = timedelta(days=studio.settings.undo_days)
    outs = []
    for row in rows:
        until = None if row.finished_at is None or row.undone_at is not None else row.finished_at + days
        why = None
        if until is not None and moment > until:
            until = None
            kept = [one["number"] for one in row.sources if one["episode_id"] in versions]
            freed = [one for one in row.sources if (known := aside.get(one["episode_id"])) is None or known.freed_at]
            why = f"Edits can be undone for {studio.settings.undo_days:g} days."
            if row.sets_aside and freed:
                why += f" The space of {len(freed)} {'source is' if len(freed) == 1 else 'sources is'} free again."
            if row.sets_aside and kept:
                why += f" A version keeps the file of episode {listed(kept)}."
        outs.append(
            EditOut(
                id=row.id,
                action=row.action,
                created_at=row.created_at,
                by_name=row.by_name,
                dataset_id=row.dataset_id,
                target_id=row.target_id,
                target_name=None if row.target_id == row.dataset_id else names.get(row.target_id, "a deleted dataset"),
                sources=[EpisodeRef.model_validate(one) for one in row.sources],
                results=[MadeOut(**{name: one[name] for name in MadeOut.model_fields}) for one in row.results],
                finished_at=row.finished_at,
                undone_at=row.undone_at,
                undone_by_name=row.undone_by_name,
                undo_until=until,
                why_not=why,
                job=None if row.job_id is None else of_jobs.get(row.job_id),
            )
        )
    return outs
