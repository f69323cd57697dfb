"""Files without rows: told, kept, and at an administrator's word adopted or moved to lost/.

A kill between a file and its row leaves one; a lost write-ahead log, or an older database, leaves the newest of all.
Every start looks; what takes files in is imported by who adopts them.
"""

import os
import time
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.errors import ApiError, ConflictError
from backend.core.space import Found
from backend.identity.actor import Actor
from backend.storage import mark, repository
from backend.storage.contents import contents
from backend.storage.schemas import StorageOut, StrayOut
from backend.store.small import key_of, obtain
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeSource

RECOVERED = "Recovered"
FRESH_SECONDS = 120.0  # whoever takes an episode in writes the file first, and its row a moment later
ADOPT = f"adopt takes episodes into the dataset {RECOVERED}, versions, runs and checkpoints under their own names"
ADOPTABLE = {"episode", "dataset version", "run", "checkpoint"}
_NAMES = 5
_DATASETS = 20  # of other dimensions each
_LOOK_SECONDS = 60.0
_log = structlog.get_logger(__name__)


def look(studio: Studio, *, fresh_seconds: float = FRESH_SECONDS) -> tuple[dict[str, list[Path]], list[str]]:
    """Files without rows, by kind, none that was written to within the last seconds; and rows without files.

    Raises SQLAlchemyError, OSError and StoreAwayError.
    """
    strays = {
        kind: [path for path in paths if _age(path) >= fresh_seconds]
        for kind, paths in repository.strays(studio).items()
    }
    strays["episode"] += repository.stray_objects(studio, fresh_seconds=fresh_seconds)
    return strays, repository.missing(studio)


def sentence(strays: dict[str, list[Path]]) -> str | None:
    """ "4 episode files and 1 run folder have no row", or None."""
    parts = []
    for kind, paths in strays.items():
        if paths:
            parts.append(plural(len(paths), kind))
    if not parts:
        return None
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    one = len(parts) == 1 and sum(map(len, strays.values())) == 1
    return f"{listed} {'has' if one else 'have'} no row"


def listed(studio: Studio, kind: str, path: Path) -> str:
    """Where it lies and what is in it, for people."""
    what = contents(kind, path)
    return f"{path.relative_to(studio.settings.data)}{f' ({what})' if what else ''}"


def plural(count: int, kind: str) -> str:
    return f"{count} {kind} {'file' if kind == 'episode' else 'folder'}{'' if count == 1 else 's'}"


def storage(studio: Studio, found: Found) -> StorageOut:
    """Looked at once a minute at most: a large studio has many files."""
    with found.lock:
        if not found.busy and time.monotonic() - found.at > _LOOK_SECONDS:
            found.strays, found.missing = look(studio)
            found.at = time.monotonic()
    return StorageOut(
        free_bytes=studio.space.free(),
        disk=studio.space.report(),
        strays=[
            StrayOut(
                kind=kind,
                count=len(paths),
                size_bytes=sum(map(_size, paths)),
                names=[listed(studio, kind, path) for path in paths[:_NAMES]],
                adoptable=kind in ADOPTABLE,
            )
            for kind, paths in found.strays.items()
            if paths
        ],
        missing=found.missing[:_NAMES],
        missing_count=len(found.missing),
        forgotten=mark.forgotten(studio),
        busy=found.busy,
        note=found.note,
    )


def adopt(studio: Studio, me: Actor | None, *, fresh_seconds: float = FRESH_SECONDS) -> str:
    """Take the episode files without rows in, as any upload, into the dataset "Recovered"; then versions, runs and
    checkpoints under their own names. Returns what became of them.

    What is no episode goes to lost/, as does what the dataset has already. Raises ApiError where nothing more can be
    taken in (a full disk).
    """
    from backend.intake.accept import AlreadyThereError, RefusedError

    strays, _ = look(studio, fresh_seconds=fresh_seconds)
    adopted, refused = 0, 0
    for path in strays["episode"]:
        try:
            _adopt_one(studio, _at_hand(studio, path), me)
        except RefusedError as error:
            _log.warning("storage.refused", file=path.name, errors=error.errors[:3])
            _move_to_lost(studio, path)
            refused += 1
        except AlreadyThereError:
            _move_to_lost(studio, path)
            adopted += 1
        else:
            path.unlink(missing_ok=True)
            _not_stored(studio, path)
            adopted += 1
    notes = [f"{adopted} of {len(strays['episode'])} episode files are in the dataset {RECOVERED}"]
    if refused:
        notes.append(f"{refused} could not be read and lie in lost/")
    others = _adopt_others(studio, me, strays)
    note = "; ".join([*(notes if strays["episode"] or not others else []), *others])
    with studio.db.transaction() as db:
        record(db, me, "storage.adopt", None, adopted=adopted, refused=refused)
    mark.settle(studio)
    return f"{note}."


def _adopt_others(studio: Studio, me: Actor | None, strays: dict[str, list[Path]]) -> list[str]:
    """What became of versions, runs and checkpoints, after the episodes that they need; those that cannot be adopted
    stay as they are."""
    from backend.storage.adopting import NotAdoptedError, adopt_checkpoint, adopt_run, adopt_version  # half a second

    told = []
    for kind, adopt_one in (("dataset version", adopt_version), ("run", adopt_run), ("checkpoint", adopt_checkpoint)):
        refused: dict[str, str] = {}
        for path in strays[kind]:
            try:
                adopt_one(studio, path, me)
            except NotAdoptedError as error:
                _log.warning("storage.not_adopted", kind=kind, path=str(path), why=str(error))
                refused[path.name] = str(error)
        if strays[kind]:
            told.append(f"{len(strays[kind]) - len(refused)} of {plural(len(strays[kind]), kind)}")
            told += [f"not {kind} {name[:8]}, since {why}" for name, why in list(refused.items())[:_NAMES]]
    return told


def lose(studio: Studio, me: Actor | None, *, fresh_seconds: float = FRESH_SECONDS) -> str:
    """Move everything without a row to lost/, where it is kept for a month; returns what was moved."""
    strays, _ = look(studio, fresh_seconds=fresh_seconds)
    paths = [path for some in strays.values() for path in some]
    for path in paths:
        _move_to_lost(studio, path)
    with studio.db.transaction() as db:
        record(db, me, "storage.lose", None, moved=len(paths))
    mark.settle(studio)
    return f"{len(paths)} {'was' if len(paths) == 1 else 'were'} moved to lost/; it is kept there for 30 days."


def begin_adopting(studio: Studio, me: Actor, found: Found) -> None:
    """Adopt in the background. Raises ConflictError while that goes on, TooManyError."""
    _claim(found)

    def run() -> None:
        try:
            found.note = adopt(studio, me)
        except ApiError as error:
            found.note = f"Not all files could be adopted: {error.message}"
        except Exception as error:  # told in the page; a thread has nobody else to tell
            _log.exception("storage.adopt")
            found.note = f"Not all files could be adopted: {' '.join(str(error).split())[:200]}"
        finally:
            found.busy, found.at = False, float("-inf")

    try:
        with studio.background.place() as begin:
            begin(run)
    except ApiError:
        found.busy = False
        raise


def lose_found(studio: Studio, me: Actor, found: Found) -> None:
    """As `lose`, with a note of it. Raises ConflictError while the files are being adopted."""
    _claim(found)
    try:
        found.note = lose(studio, me)
    finally:
        found.busy, found.at = False, float("-inf")


def _claim(found: Found) -> None:
    with found.lock:
        if found.busy:
            raise ConflictError("The files are being adopted at the moment; wait until that is done.")
        found.busy = True


def _adopt_one(studio: Studio, path: Path, me: Actor | None) -> None:
    """Raises RefusedError, AlreadyThereError, ApiError."""
    from backend.intake.accept import MisfitError, accept

    for number in range(1, _DATASETS + 1):
        with studio.db.transaction() as db:
            dataset_id = _dataset(db, RECOVERED if number == 1 else f"{RECOVERED} {number}", me)
        try:
            accept(
                studio,
                dataset_id=dataset_id,
                file=path,
                source=EpisodeSource.IMPORTED,
                original_name=path.name,
                created_by=None if me is None else me.id,
            )
            return
        except MisfitError:  # of another robot than those before: the next dataset is for it
            if number == _DATASETS:
                raise


def _dataset(db: Session, name: str, me: Actor | None) -> str:
    row = db.scalar(select(Dataset).where(Dataset.name == name))
    if row is None:
        row = Dataset(
            name=name, description="Episodes that were found without a row.", created_by=None if me is None else me.id
        )
        db.add(row)
        db.flush()
    return row.id


def _at_hand(studio: Studio, path: Path) -> Path:
    """A file without a row, from a store elsewhere to its place here."""
    return obtain(studio.store, studio.settings.data, path)


def _not_stored(studio: Studio, path: Path) -> None:
    """What was adopted or lies in lost/ is no stray any more."""
    if studio.store.remote:
        studio.store.delete([key_of(studio.settings.data, path)])


def _move_to_lost(studio: Studio, path: Path) -> None:
    folder = studio.settings.folder
    _at_hand(studio, path)
    folder.lost.mkdir(exist_ok=True)
    place = folder.lost / f"{path.parent.relative_to(folder.root)}-{path.name}".replace(os.sep, "-")
    os.replace(path, place)
    os.utime(place)
    _not_stored(studio, path)


def _age(path: Path) -> float:
    try:
        return abs(time.time() - path.stat().st_mtime)  # to come: from before the clock was set back
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
