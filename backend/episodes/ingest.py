"""Take an episode file in: inspected in a sandbox, copied fresh, then listed. Used by uploads and by workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.annotations.models import Draft
from backend.annotations.proposals import from_labels
from backend.audit.service import record
from backend.auth.models import User
from backend.context import Studio
from backend.datasets.models import Dataset
from backend.db import new_id, utc_now
from backend.episodes import repository
from backend.episodes.models import EpisodeRow, EpisodeSource, LabelState
from backend.errors import ConflictError, DiskFullError, InvalidError, NotFoundError
from backend.events import publish_after_commit
from dexvla.files import fsync_path

_SECONDS = 900
_SPARE_BYTES = 64 * 2**20


class RefusedError(InvalidError):
    """The file is no episode that can be used; `errors` are all complaints."""

    def __init__(self, name: str, errors: list[str]) -> None:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{name} was not accepted: {errors[0]}{more}", detail={"name": name, "errors": errors})
        self.errors = errors


class AlreadyThereError(ConflictError):
    """The same motion and pictures are in the dataset already, as `episode_id`."""

    def __init__(self, name: str, row: EpisodeRow) -> None:
        super().__init__(f"{name} is in this dataset already, as episode {row.number}.", detail={"episode_id": row.id})
        self.episode_id = row.id


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What became of an accepted file."""

    episode_id: str
    warnings: list[str]


def accept(
    studio: Studio,
    *,
    dataset_id: str,
    file: Path,
    source: EpisodeSource,
    original_name: str | None = None,
    created_by: str | None = None,
    keep_labels: bool = True,
) -> Accepted:
    """Check `file`, copy it to its place and list it in the dataset; `file` itself stays as it is.

    Raises RefusedError for a file that is no usable episode or does not fit the dataset's others, AlreadyThereError,
    DiskFullError, NotFoundError for the dataset. On any error nothing stays behind.
    """
    name = original_name or file.name
    episode_id = new_id()
    final = studio.settings.folder.episode(dataset_id, episode_id)
    final.parent.mkdir(parents=True, exist_ok=True)
    size = file.stat().st_size
    if shutil.disk_usage(final.parent).free < size + _SPARE_BYTES:
        raise DiskFullError(f"There is no room for {name} ({size / 2**20:.0f} MiB). Free some space and try again.")
    temporary = final.with_name(f".{episode_id}.tmp")
    try:
        found = _inspect(file, temporary, name, keep_labels=keep_labels)
        fsync_path(temporary)
        os.replace(temporary, final)
        fsync_path(final.parent)
        with studio.db.transaction() as db:
            row = _row(episode_id, dataset_id, found, size=final.stat().st_size, source=source, name=original_name)
            row.created_by = created_by
            _list(db, studio, row, name, labels=found["labels"] if keep_labels else None, source=found["label_source"])
    except BaseException:
        temporary.unlink(missing_ok=True)
        final.unlink(missing_ok=True)
        raise
    return Accepted(episode_id=episode_id, warnings=found["warnings"])


def _inspect(file: Path, target: Path, name: str, *, keep_labels: bool) -> dict[str, Any]:
    """Run backend.episodes.inspect on the file. Raises RefusedError."""
    limit = 2 * file.stat().st_size + _SPARE_BYTES
    command = [sys.executable, "-m", "backend.episodes.inspect", str(file), str(target), str(limit)]
    environment = {**os.environ, "HDF5_PLUGIN_PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, "yes" if keep_labels else "no"],
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(name, [f"looking at it took more than {_SECONDS} s"]) from None
    if done.returncode == -signal.SIGXFSZ:
        raise RefusedError(name, ["unpacked it is more than twice as large as the file; store the pictures plainly"])
    if done.returncode:
        raise RefusedError(name, [_last_words(done.returncode, done.stderr.decode(errors="replace"))])
    found: dict[str, Any] = json.loads(done.stdout)
    if found["errors"]:
        raise RefusedError(name, found["errors"])
    return found


def _last_words(status: int, stderr: str) -> str:
    if "No space left" in stderr:
        raise DiskFullError("The disk became full while the file was copied. Nothing was kept; free some space.")
    if "MemoryError" in stderr or "Cannot allocate memory" in stderr:
        return "it asks for more memory than a file may; it is damaged, or made to do harm"
    last = stderr.strip().splitlines()[-1:] or [f"exit status {status}"]
    return f"reading it failed ({last[0][:200]}); it is damaged, re-export it"


def _row(
    episode_id: str, dataset_id: str, found: dict[str, Any], *, size: int, source: EpisodeSource, name: str | None
) -> EpisodeRow:
    return EpisodeRow(
        id=episode_id,
        dataset_id=dataset_id,
        identity=found["identity"],
        steps=found["steps"],
        action_dim=found["action_dim"],
        state_dim=found["state_dim"],
        fps=found["fps"],
        cameras=found["cameras"],
        sim=found["sim"],
        robot=found["robot"],
        task=found["task"],
        seed=found["seed"],
        render_profile=found["render_profile"],
        size_bytes=size,
        source=source,
        original_name=None if name is None else name[:256],
        instruction=found["instruction"],
        success=found["success"],
        label_state=LabelState.UNLABELLED,
    )


def _list(
    db: Session, studio: Studio, row: EpisodeRow, name: str, *, labels: list[str] | None, source: str | None
) -> None:
    dataset = db.get(Dataset, row.dataset_id, with_for_update=True)
    if dataset is None:
        raise NotFoundError("The dataset is gone; it was deleted meanwhile.")
    twin = repository.by_identity(db, dataset.id, row.identity)
    if twin is not None:
        raise AlreadyThereError(name, twin)
    if repository.any_episode(db, dataset.id) is None:
        _take_over(dataset, row)
    _refuse_misfit(dataset, row, name)
    row.number = dataset.next_number
    dataset.next_number += 1
    db.add(row)
    db.flush()
    if labels is not None and any(text.strip() for text in labels):
        db.add(
            Draft(
                episode_id=row.id,
                edit=0,
                segments=[segment.model_dump(mode="json") for segment in from_labels(labels, source)],
                instruction=row.instruction,
                success=row.success,
                updated_at=utc_now(),
                updated_by=None,
            )
        )
    person = None if row.created_by is None else db.get(User, row.created_by)
    record(
        db,
        None if person is None else _actor(person),
        f"episode.{row.source}",
        row.id,
        dataset=dataset.id,
        name=name,
        identity=row.identity,
    )
    publish_after_commit(db, studio, "dataset", dataset.id)
    publish_after_commit(db, studio, "episode", row.id)


def _actor(user: User) -> Any:
    from backend.access import Actor
    from backend.auth.roles import Role

    return Actor(id=user.id, name=user.name, role=Role(user.role))


def _take_over(dataset: Dataset, row: EpisodeRow) -> None:
    """The first episode says what the dataset's episodes are like."""
    dataset.action_dim, dataset.state_dim, dataset.fps = row.action_dim, row.state_dim, row.fps
    dataset.cameras = [camera["name"] for camera in row.cameras]
    dataset.render_profile = row.render_profile


def _refuse_misfit(dataset: Dataset, row: EpisodeRow, name: str) -> None:
    """Episodes of a dataset agree in dimensions, cameras, rate and render profile, or nothing can train on it."""
    cameras = [camera["name"] for camera in row.cameras]
    facts: list[tuple[str, object, object]] = [
        ("action dimensions", row.action_dim, dataset.action_dim),
        ("state dimensions", row.state_dim, dataset.state_dim),
        ("the cameras", ", ".join(cameras), ", ".join(dataset.cameras)),
        ("the render profile", row.render_profile, dataset.render_profile),
    ]
    if row.fps is not None and dataset.fps is not None:
        facts.append(("steps a second", row.fps, dataset.fps))
    wrong = [
        f"it has {what} {found}, the dataset's episodes have {expected}; put it into a dataset of its own"
        for what, found, expected in facts
        if found != expected
    ]
    if wrong:
        raise RefusedError(name, wrong)
