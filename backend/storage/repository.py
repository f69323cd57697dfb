"""Which files of the data folder have rows, and which rows have files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.db import utc_now
from backend.core.folders import DataFolder
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EpisodeEdit
from backend.tables.evaluation import Evaluation
from backend.tables.export import Export
from backend.tables.job import Job, JobState
from backend.tables.run import Run
from dexvla.checksums import MANIFEST
from dexvla.spec import step_name, step_of

_ID = re.compile(r"[0-9a-f]{32}")


def is_id(name: str) -> bool:
    """Whether the server gave it: see backend.core.db.new_id."""
    return _ID.fullmatch(name) is not None


def tables(folder: DataFolder) -> dict[str, tuple[Any, Path]]:
    """Tables whose rows have a folder of the row's id, by what people call it."""
    return {
        "dataset version": (DatasetVersion, folder.versions),
        "run": (Run, folder.runs),
        "evaluation": (Evaluation, folder.evaluations),
        "export": (Export, folder.exports),
        "job": (Job, folder.jobs),
    }


def episode_files(folder: DataFolder) -> list[Path]:
    return [path for path in folder.episodes.glob("*/*.hdf5") if is_id(path.stem)]


def folders(parent: Path) -> list[Path]:
    return [path for path in parent.glob("*") if path.is_dir() and is_id(path.name)]


def checkpoint_folders(run: Path) -> dict[int, Path]:
    """Finished checkpoints in a run's folder, by step, ascending."""
    there = [path.parent for path in run.glob("checkpoints/step-*/manifest.json")]
    steps = {step: path for path in there if (step := step_of(path.name)) is not None}
    return dict(sorted(steps.items()))


def _stray_checkpoints(db: Session, folder: DataFolder) -> list[Path]:
    """Of runs that are over: what a trainer has just saved gets its row from its job."""
    over = [state for state in JobState if state.over]
    query = select(Run.id).join(Job, Job.id == Run.job_id).where(Job.state.in_(over), Run.deleted_at.is_(None))
    known = {(run_id, step) for run_id, step in db.execute(select(Checkpoint.run_id, Checkpoint.step))}
    return [
        path
        for run_id in db.scalars(query)
        for step, path in checkpoint_folders(folder.run(run_id)).items()
        if (run_id, step) not in known
    ]


def _being_placed(db: Session) -> set[str]:
    """Ids of episodes that edits are making: their files come before their rows."""
    over = [state for state in JobState if state.over]
    query = select(EpisodeEdit.items).join(Job, Job.id == EpisodeEdit.job_id)
    found = db.scalars(query.where(EpisodeEdit.finished_at.is_(None), Job.state.not_in(over)))
    return {item["result"] for items in found for item in items if item["result"] is not None}


def _known_episodes(db: Session) -> set[str]:
    placed = _being_placed(db)  # first: an edit that ends now has its rows then
    return placed | set(db.scalars(select(EpisodeRow.id)))


def strays(studio: Studio) -> dict[str, list[Path]]:
    """What no row knows, deleted ones included: "episode", the names of `tables` and "checkpoint" (of runs that have
    rows) -> files or folders, sorted."""
    folder = studio.settings.folder
    there = {"episode": episode_files(folder)} | {kind: folders(parent) for kind, (_, parent) in tables(folder).items()}
    found = {}
    with studio.db.transaction(write=False) as db:  # after the listing: a row that comes with its file is seen
        for kind, paths in there.items():
            known: set[str] = set()
            if paths:
                known = (
                    _known_episodes(db) if kind == "episode" else set(db.scalars(select(tables(folder)[kind][0].id)))
                )
            found[kind] = sorted(path for path in paths if path.stem not in known)
        found["checkpoint"] = sorted(_stray_checkpoints(db, folder))
    return found


def stray_objects(studio: Studio, *, fresh_seconds: float) -> list[Path]:
    """Episodes in a store elsewhere that no row knows, by their places in a data folder; none of the last moments."""
    if not studio.store.remote:
        return []
    now = utc_now()
    old = [
        studio.settings.data / one.key
        for one in studio.store.list("episodes")
        if (now - one.changed_at).total_seconds() >= fresh_seconds
    ]
    with studio.db.transaction(write=False) as db:
        known = _known_episodes(db) if old else set()
    return sorted(path for path in old if is_id(path.stem) and path.stem not in known)


def _found(studio: Studio) -> Callable[[Path], bool]:
    """Whether a file of the data folder is where the studio has its files; of a store elsewhere in three looks."""
    if not studio.store.remote:
        return Path.is_file
    keys = {one.key for top in ("episodes", "versions", "runs") for one in studio.store.list(top)}
    return lambda path: key_of(studio.settings.data, path) in keys


def missing(studio: Studio) -> list[str]:
    """Rows whose files are gone, in words. What there is of them is asked after the transaction: a store elsewhere may
    take minutes to list. Raises StoreAwayError."""
    folder = studio.settings.folder
    with studio.db.transaction(write=False) as db:
        expected = list(_expected(db, folder))
        aside = select(EpisodeRow.dataset_id, EpisodeRow.id, EpisodeRow.number)
        kept = db.execute(aside.where(EpisodeRow.deleted_at.is_not(None), EpisodeRow.freed_at.is_(None))).all()
    there = _found(studio)
    lost = [what for path, what in expected if not there(path)]
    gone = {row.id: row.number for row in kept if not there(folder.episode(row.dataset_id, row.id))}
    return lost + (_listed_by_versions(studio, gone) if gone else [])


def _expected(db: Session, folder: DataFolder) -> Iterator[tuple[Path, str]]:
    """The file of each row, and what it is."""
    for dataset_id, episode_id, number in db.execute(
        select(EpisodeRow.dataset_id, EpisodeRow.id, EpisodeRow.number).where(EpisodeRow.deleted_at.is_(None))
    ):
        yield folder.episode(dataset_id, episode_id), f"the file of episode {number} ({episode_id})"
    for version_id, number in db.execute(select(DatasetVersion.id, DatasetVersion.number)):
        yield folder.manifest(version_id), f"the manifest of dataset version {number} ({version_id})"
    for run_id, step in db.execute(
        select(Checkpoint.run_id, Checkpoint.step)
        .join(Run, Run.id == Checkpoint.run_id)
        .where(Checkpoint.deleted_at.is_(None), Run.deleted_at.is_(None))
    ):
        place = folder.run(run_id) / "checkpoints" / step_name(step) / MANIFEST
        yield place, f"the checkpoint of step {step} of run {run_id}"


def _listed_by_versions(studio: Studio, gone: dict[str, int]) -> list[str]:
    """Of episodes that were set aside, and that versions still train on and export."""
    with studio.db.transaction(write=False) as db:
        versions = db.execute(select(DatasetVersion.number, DatasetVersion.episode_ids)).all()
    return [
        f"the file of episode {gone[episode_id]} ({episode_id}), which version {number} lists"
        for number, listed in versions
        for episode_id in gone.keys() & set(listed)
    ]
