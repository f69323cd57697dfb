"""Take an episode file in: inspected in a sandbox, copied fresh, then listed. Used by uploads and by workers."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core import limits
from backend.core.db import NO_KEY, new_id, utc_now
from backend.core.errors import ConflictError, DiskFullError, InvalidError, NotFoundError
from backend.core.turns import GONE
from backend.episodes import renew, repository
from backend.episodes.files import stored
from backend.intake.broken import Broken, Why, by_status
from backend.intake.child import TRIES, Child, LostError, started
from backend.intake.inspect import BROKE, READY
from backend.labels.core.brought import brought
from backend.labels.core.start import proposed
from backend.store.base import StoreAwayError, Stored
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow, EpisodeSource, LabelState
from backend.tables.user import User
from dexvla.episodes.facts import EpisodeFacts
from dexvla.episodes.known import KnownEpisodes
from dexvla.errors import EpisodeError

_SECONDS = 900
_CPU_SECONDS = 600
_LONGEST_ANSWER = 64 * 2**20  # bytes
_LOOK_SECONDS = 0.2  # between two looks at whether the client is still there
_SPARE_BYTES = 64 * 2**20
_NAME_LENGTH = 256


class RefusedError(InvalidError):
    """The file is no episode that can be used; `errors` are all complaints."""

    def __init__(self, name: str, errors: list[str]) -> None:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{name} was not accepted: {errors[0]}{more}", detail={"name": name, "errors": errors})
        self.errors = errors


class MisfitError(RefusedError):
    """A usable episode, of another kind than the dataset's others."""


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
    instruction: str = "",
    guesses: Sequence[str] = (),
    source_sha256: str | None = None,
    stop: threading.Event | None = None,
) -> Accepted:
    """Check `file`, copy it to its place and list it in the dataset; `file` itself stays as it is.

    instruction: for a file that has none of its own. guesses: what an import assumed; of an upload its file tells it.
    source_sha256: of `file`, kept with the episode.
    stop: once it is set nobody waits for the answer: the inspection is ended and InvalidError raised. Raises
    RefusedError for a file that is no usable episode or does not fit the dataset's others, AlreadyThereError,
    DiskFullError, StoreAwayError, NoReaderError, NotFoundError for the dataset. On any error nothing stays behind.
    """
    name = _plain(original_name) or file.name
    instruction = limits.one_line(instruction)
    if wrong := limits.wrong_with(instruction):
        raise InvalidError(f"The instruction for {name} holds {wrong}.")
    if (problem := studio.store_watch.report()) != "ok":  # looking at the file takes minutes, and would be in vain
        raise StoreAwayError(f"{name} is not looked at before it can be stored: {problem}")
    episode_id = new_id()
    beside = studio.settings.folder.episodes / dataset_id
    beside.mkdir(parents=True, exist_ok=True)
    size = file.stat().st_size
    if shutil.disk_usage(beside).free < size + _SPARE_BYTES:
        raise DiskFullError(f"There is no room for {name} ({size / 2**20:.0f} MiB). Free some space and try again.")
    temporary = beside / f".{episode_id}.tmp"
    kept: Stored | None = None
    try:
        found = _inspect(
            file, temporary, name, keep_labels=keep_labels, instruction=instruction, stop=stop or threading.Event()
        )
        row = _row(episode_id, dataset_id, found["facts"], file=temporary, source=source)
        known = EpisodeFacts.model_validate(found["known"])
        if studio.store.remote:  # what is there already need not be sent first
            with studio.db.transaction(write=False) as db:
                _refuse_twin(db, row, name)
        kept = stored(row)
        studio.store.put(temporary, kept)
        with studio.db.transaction() as db:
            row.original_name = None if original_name is None else name
            row.created_by, row.source_sha256 = created_by, source_sha256
            row.guesses = found["guesses"] if source is EpisodeSource.UPLOADED else list(guesses)
            _list(db, studio, row, name, found["segments"], label_source=found["label_source"])
    except BaseException:
        temporary.unlink(missing_ok=True)
        if kept is not None:
            with suppress(StoreAwayError):  # it stays without a row, and is told as such
                studio.store.delete([kept.key])
        raise
    with suppress(FileNotFoundError, EpisodeError):  # deleted again by now
        _keep(studio, kept, known)
    return Accepted(episode_id=episode_id, warnings=found["warnings"])


def _keep(studio: Studio, kept: Stored, facts: EpisodeFacts) -> None:
    """What was read of the file, so that trainings need not read it again."""
    assert kept.sha256 is not None
    known = KnownEpisodes.below(studio.settings.folder.cache)
    known.keep(kept.sha256, facts)
    if not studio.store.remote:
        known.note(studio.store.path(kept), kept.sha256)


def _plain(name: str | None) -> str:
    """A name as people gave it, fit to be stored and shown."""
    return "".join(letter for letter in name or "" if letter.isprintable())[:_NAME_LENGTH].strip()


def _inspect(
    file: Path, target: Path, name: str, *, keep_labels: bool, instruction: str, stop: threading.Event
) -> dict[str, Any]:
    """Run backend.intake.inspect on the file. Raises RefusedError, DiskFullError, InvalidError for a `stop`,
    NoReaderError."""
    target.touch()  # the child may write this file, and open no other
    order = {
        "source": str(file.absolute()),
        "target": str(target),
        "file_bytes": 2 * file.stat().st_size + _SPARE_BYTES,
        "cpu_seconds": _CPU_SECONDS,
        "keep_labels": keep_labels,
        "instruction": instruction,
    }
    status, answer = _looked_at(order, name, stop)
    if status:
        broke = Broken.from_json(json.loads(answer)) if status == BROKE else by_status(status)
        raise RefusedError(name, [words(broke, _CPU_SECONDS)])
    found: dict[str, Any] = json.loads(answer)
    if found["errors"]:
        raise RefusedError(name, found["errors"])
    return found


def _looked_at(order: dict[str, Any], name: str, stop: threading.Event) -> tuple[int, bytes]:
    """The status of a process that looked at a file, and what it said. Raises as `_await`, NoReaderError."""
    for _ in range(TRIES):
        with suppress(LostError), started("backend.intake.inspect") as child:
            child.send(json.dumps(order).encode() + b"\n")
            status, answer = _await(child, name, stop)
            complaints = child.complaints()
            assert READY in complaints, f"the inspection does not start: {complaints}"
            return status, answer
    raise RefusedError(name, [words(Broken(why=Why.CRASHED, what="its reader was ended"), _CPU_SECONDS)])


def _await(child: Child, name: str, stop: threading.Event) -> tuple[int, bytes]:
    """Its status, and what it says. Raises RefusedError when that is too much or it takes too long, InvalidError for a
    `stop`, LostError."""
    deadline = time.monotonic() + _SECONDS
    said: list[bytes] = []
    listener = threading.Thread(target=lambda: said.append(child.stdout.read(_LONGEST_ANSWER)), daemon=True)
    listener.start()
    while True:
        over, heard = child.wait(_LOOK_SECONDS), not listener.is_alive()
        if said and len(said[0]) == _LONGEST_ANSWER:
            what = f"{_LONGEST_ANSWER // 2**20} MiB and more"
            raise RefusedError(name, [words(Broken(why=Why.TALKATIVE, what=what), _CPU_SECONDS)])
        if over and heard:
            return child.status, said[0]
        if over:
            child.end()  # what it started and left keeps its output open
            listener.join(_LOOK_SECONDS)
        elif stop.is_set():
            raise InvalidError(GONE)
        elif time.monotonic() > deadline:
            raise RefusedError(name, [f"looking at it took more than {_SECONDS} s"])


def words(found: Broken, cpu_seconds: int) -> str:
    """What is wrong with a file that broke the reader. Raises DiskFullError."""
    match found.why:
        case Why.DISK_FULL:
            raise DiskFullError("The disk became full while the file was copied. Nothing was kept; free some space.")
        case Why.TOO_LARGE:
            return "unpacked it is more than twice as large as the file; store its pictures as plain JPEG rows"
        case Why.MEMORY:
            return "it asks for more memory than a file may; it is damaged, or made to do harm"
        case Why.TIME:
            return f"looking at it takes more than {cpu_seconds} s of computing; it is damaged, or made to do harm"
        case Why.MISLEADING:
            return (
                f"reading it failed (its parts are not what their names say, {found.what}); it is damaged, re-export it"
            )
        case Why.TALKATIVE:
            return f"its reader was ended, since it said {found.what}; the file is made to do harm"
        case Why.DAMAGED | Why.CRASHED:
            return f"reading it failed ({found.what}); it is damaged, re-export it"


def _row(episode_id: str, dataset_id: str, facts: dict[str, Any], *, file: Path, source: EpisodeSource) -> EpisodeRow:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return EpisodeRow(
        id=episode_id,
        dataset_id=dataset_id,
        size_bytes=file.stat().st_size,
        sha256=digest,
        source=source,
        label_state=LabelState.UNLABELLED,
        **facts,
    )


def _refuse_twin(db: Session, row: EpisodeRow, name: str) -> None:
    """Raises AlreadyThereError where the dataset has an episode of just this identity."""
    twin = repository.by_identity(db, row.dataset_id, row.identity, None)
    if twin is not None:
        raise AlreadyThereError(name, twin)


def _list(
    db: Session, studio: Studio, row: EpisodeRow, name: str, segments: list[list[Any]], *, label_source: str | None
) -> None:
    """segments: proposals as (start, end, text). Raises NotFoundError, AlreadyThereError, RefusedError."""
    dataset = db.get(Dataset, row.dataset_id, with_for_update=NO_KEY)
    if dataset is None:
        raise NotFoundError("The dataset is gone; it was deleted meanwhile.")
    twin = repository.by_identity(db, dataset.id, row.identity, row.former_identity)
    if twin is not None and twin.identity != row.identity:  # not renewed yet: are its pictures read in the same way?
        with suppress(EpisodeError, NotFoundError):  # its file is gone or damaged: then its motion decides
            renew.give(db, twin, renew.identity_of(studio, twin))
            twin = twin if twin.identity == row.identity else None
    if twin is not None:
        raise AlreadyThereError(name, twin)
    if repository.any_episode(db, dataset.id) is None:
        take_over(dataset, row)
    refuse_misfit(dataset, row, name)
    if dataset.fps is None:  # the first episodes did not say
        dataset.fps = row.fps
    row.number = dataset.next_number
    dataset.next_number += 1
    db.add(row)
    db.flush()
    if segments:
        db.add(
            Draft(
                episode_id=row.id,
                edit=0,
                state=WorkState.UNASSIGNED,
                segments=proposed(segments, label_source),
                instruction=row.instruction,
                success=row.success,
                updated_at=utc_now(),
                updated_by=None,
            )
        )
        db.add(brought(row.id, segments, label_source))
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
    from backend.core.roles import Role
    from backend.identity.actor import Actor

    return Actor(id=user.id, name=user.name, role=Role(user.role))


def take_over(dataset: Dataset, row: EpisodeRow) -> None:
    """The first episode says what the dataset's episodes are like."""
    dataset.action_dim, dataset.state_dim, dataset.fps = row.action_dim, row.state_dim, row.fps
    dataset.cameras = [camera["name"] for camera in row.cameras]
    dataset.render_profile = row.render_profile


def refuse_misfit(dataset: Dataset, row: EpisodeRow, name: str, *, cameras: Sequence[str] | None = None) -> None:
    """Episodes of a dataset agree in dimensions, cameras, rate and render profile, or nothing can train on it.

    cameras: names that it is to have; None: those that it has. Raises MisfitError.
    """
    if cameras is None:
        cameras = [camera["name"] for camera in row.cameras]
    facts: list[tuple[str, object, object]] = [
        ("action dimensions", row.action_dim, dataset.action_dim),
        ("state dimensions", row.state_dim, dataset.state_dim),
        ("the cameras", ", ".join(cameras), ", ".join(dataset.cameras)),
        ("the render profile", row.render_profile, dataset.render_profile),
    ]
    if row.fps is not None and dataset.fps is not None:
        facts.append(("rate in Hz", row.fps, dataset.fps))
    wrong = [
        f"it has {what} {found}, the dataset's episodes have {expected}; put it into a dataset of its own"
        for what, found, expected in facts
        if found != expected
    ]
    if wrong:
        raise MisfitError(name, wrong)
