"""`studio store move`: a studio's files from the data folder to an S3 store, from there to another, or back.

Everything is copied and read back before the database says that the files are there. What was copied and compared is
written down, so that a move that was interrupted goes on with the rest.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from redis import RedisError
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.base_models.files import made_here, model_place
from backend.checkpoints.files import stored_files
from backend.core.s3_place import S3Place
from backend.core.settings import Settings
from backend.episodes.files import episode_key, own_file
from backend.exports.files import parts_of
from backend.jobs.workers import live_workers
from backend.store.base import Store, StoreAwayError, Stored
from backend.store.opening import open_store
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.studio.whereabouts import FOLDER, agree, keep, known
from backend.tables.base_model import RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from backend.tables.export import Export
from dexvla import console
from dexvla.checksums import file_sha256
from dexvla.errors import UserError
from worker.core.data_lock import locked, only_api

_JOURNAL = "store-move.jsonl"


class Moved(BaseModel):
    """copied: files and bytes of this run; before: of one that was interrupted. freed_bytes: of the data folder.
    damaged: why nothing was switched. unneeded: what was left behind, damaged too: episodes that only an undo wants."""

    origin: str
    to: str
    files: int
    bytes: int
    copied: int
    copied_bytes: int
    before: int
    switched: bool
    freed_bytes: int
    left_bytes: int
    damaged: list[str]
    unneeded: list[str]


@dataclass(frozen=True, kw_only=True)
class _File:
    """needed: whether a studio without it would be less than it is; see _unneeded."""

    stored: Stored
    what: str
    needed: bool = True


def move(
    settings: Settings,
    to: str,
    *,
    copy_only: bool = False,
    free: bool = False,
) -> Moved:
    """to: s3://BUCKET/PREFIX, or "folder". copy_only: the studio may go on working; the files are not switched over.
    free: afterwards, remove from the data folder what the store has. Raises UserError."""
    if copy_only:
        return _move(settings, to, switch=False, free=False)
    settings.folder.prepare()
    with locked(settings.folder), only_api(settings.folder):
        return _move(settings, to, switch=True, free=free)


def _move(settings: Settings, to: str, *, switch: bool, free: bool) -> Moved:
    place = None if to == FOLDER else _place(settings, to)
    to = FOLDER if place is None else place.url
    first = Studio.open(settings)
    try:
        with first.db.transaction(write=False) as db:
            origin = known(db)
        if switch:
            _refuse_workers(first)
    finally:
        first.close()
    # the studio as its files are now, whatever STUDIO_STORE says at the moment
    studio = Studio.open(settings.model_copy(update={"store": None if origin == FOLDER else origin}))
    target = open_store(settings.model_copy(update={"store": None if place is None else to}))
    try:
        for store in (studio.store, target):
            if (wrong := store.problem(write=True)) is not None:
                raise UserError(wrong)
        return _carry(studio, target, origin, to, switch=switch, free=free)
    except StoreAwayError as error:
        raise UserError(f"{error.message} What was copied is not copied again by the next try.") from error
    finally:
        studio.close()


def _place(settings: Settings, to: str) -> S3Place:
    try:
        return S3Place(
            url=to,
            endpoint=settings.store_endpoint,
            region=settings.store_region,
            key=settings.store_key,
            secret=settings.store_secret,
        )
    except ValidationError as error:
        raise UserError(f"--to {to}: {error.errors()[0]['msg'].removeprefix('Value error, ')}, or folder") from None


def _refuse_workers(studio: Studio) -> None:
    try:
        there = live_workers(studio)
    except RedisError:  # without a broker nobody works
        return
    if there:
        raise UserError(
            f"{len(there)} {'worker is' if len(there) == 1 else 'workers are'} running; stop the studio and its "
            "workers on all machines first, or copy ahead with --copy-only"
        )


def _carry(
    studio: Studio,
    target: Store,
    origin: str,
    to: str,
    *,
    switch: bool,
    free: bool,
) -> Moved:
    damaged: list[str] = []
    unneeded: list[str] = []
    files = list(_files(studio, damaged, unneeded))
    journal = studio.settings.data / _JOURNAL
    done = _read(journal, to)
    copied = copied_bytes = before = 0
    if origin != to:
        with journal.open("a", encoding="utf-8") as log, console.bar("moving", total=len(files)) as bar:
            for file in files:
                bar.advance(file.what)
                one = file.stored
                known_there = one.key in done and one.sha256 in {None, done[one.key]}
                if known_there and target.size(one.key) == one.size:
                    before += 1
                    continue
                try:
                    digest = _copy(studio, target, one)
                except (FileNotFoundError, _DamagedError) as error:
                    (damaged if file.needed else unneeded).append(f"{file.what}: {error}")
                    continue
                log.write(json.dumps({"to": to, "key": one.key, "sha256": digest}) + "\n")
                log.flush()
                copied, copied_bytes = copied + 1, copied_bytes + one.size
    switched = switch and not damaged and origin != to
    if switched:
        with studio.db.transaction() as db:
            keep(db, to)
            record(db, None, "studio.store", None, origin=origin, to=to, files=len(files), by="command line")
        journal.unlink(missing_ok=True)
    there = not damaged and (switched or origin == to) and to != FOLDER
    left = _left(studio, target, files) if there else []
    freed = sum(_free(path) for path in left) if free else 0
    return Moved(
        origin=origin,
        to=to,
        files=len(files),
        bytes=sum(one.stored.size for one in files),
        copied=copied,
        copied_bytes=copied_bytes,
        before=before,
        switched=switched,
        freed_bytes=freed,
        left_bytes=sum(path.stat().st_size for path in left if path.exists()),
        damaged=damaged,
        unneeded=unneeded,
    )


class _DamagedError(Exception):
    """What was read is not what its row says."""


def _copy(studio: Studio, target: Store, file: Stored) -> str:
    """Returns its sha256, after reading it back. Raises _DamagedError, FileNotFoundError."""
    temporary = studio.settings.folder.uploads / f".{uuid.uuid4().hex}.tmp"
    here = studio.settings.data / file.key
    try:
        if studio.store.remote:
            with temporary.open("xb") as out:
                for block in studio.store.read(file.key, 0, file.size):
                    out.write(block)
        source = temporary if studio.store.remote else here
        found = file_sha256(source)
        if file.sha256 is not None and found != file.sha256:
            raise _DamagedError(f"its sha256 is {found[:16]}..., it was taken in with {file.sha256[:16]}...")
        (target.share if target.remote else target.put)(source, file)
    finally:
        temporary.unlink(missing_ok=True)
    back = hashlib.sha256()
    for block in target.read(file.key, 0, file.size):
        back.update(block)
    if back.hexdigest() != found:
        raise _DamagedError(f"what {target.name} gives back is not what was sent")
    return found


def _unneeded(db: Session) -> set[str]:
    """Episodes that were deleted or edited into others and may be brought back, and that no version lists."""
    aside = set(db.scalars(select(EpisodeRow.id).where(EpisodeRow.deleted_at.is_not(None))))
    for listed in db.scalars(select(DatasetVersion.episode_ids)) if aside else ():
        aside.difference_update(listed)
    return aside


def _files(studio: Studio, damaged: list[str], unneeded: list[str]) -> Iterator[_File]:
    """What a store has, by the rows; of a store elsewhere, also what machines left there for others to read."""
    with studio.db.transaction(write=False) as db:
        ids = list(db.scalars(select(EpisodeRow.id).where(EpisodeRow.freed_at.is_(None))))
        not_needed = _unneeded(db)
        others = [*_versions(db, studio), *_checkpoints(db, studio), *_exports(db, studio), *_models(db, studio)]
    known_keys = set()
    for episode_id in ids:
        with studio.db.transaction() as db:
            row = db.get(EpisodeRow, episode_id)
            if row is None:
                continue
            key, what = episode_key(row.dataset_id, row.id), f"episode {row.number}"
            needed = row.id not in not_needed
            if not studio.store.remote:
                try:  # of an older studio: without a hash, and perhaps with labels that were written into it
                    path = own_file(studio, row)
                    if row.sha256 is None or path.stat().st_size != row.size_bytes:
                        row.sha256, row.size_bytes = file_sha256(path), path.stat().st_size
                except Exception as error:
                    (damaged if needed else unneeded).append(f"{what}: {error}")
                    continue
            file = Stored(key=key, sha256=row.sha256, size=row.size_bytes)
        known_keys.add(key)
        yield _File(stored=file, what=what, needed=needed)
    for one in others:
        known_keys.add(one.stored.key)
        yield one
    if studio.store.remote:
        for found in studio.store.list(""):
            if found.key not in known_keys and not found.key.startswith("episodes/"):
                yield _File(stored=Stored(key=found.key, sha256=None, size=found.size), what=found.key)


def _local(studio: Studio, path: Path, what: str) -> _File:
    key = key_of(studio.settings.data, path)
    size = path.stat().st_size if path.is_file() else 0
    return _File(stored=Stored(key=key, sha256=None, size=size), what=what)


def _versions(db: Session, studio: Studio) -> Iterator[_File]:
    if not studio.store.remote:
        for row in db.scalars(select(DatasetVersion)):
            yield _local(studio, studio.settings.folder.manifest(row.id), f"manifest of version {row.number}")


def _checkpoints(db: Session, studio: Studio) -> Iterator[_File]:
    for row in db.scalars(select(Checkpoint).where(Checkpoint.deleted_at.is_(None))):
        for name, file in stored_files(studio, row).items():
            yield _File(stored=file, what=f"{name} of the checkpoint of step {row.step}")


def _exports(db: Session, studio: Studio) -> Iterator[_File]:
    if studio.store.remote:
        return
    for row in db.scalars(select(Export).where(Export.deleted_at.is_(None), Export.sha256.is_not(None))):
        for part in parts_of(studio, row):
            if part.file is not None:
                yield _local(studio, part.file, f"export {row.name}")


def _models(db: Session, studio: Studio) -> Iterator[_File]:
    if studio.store.remote:
        return
    for row in filter(made_here, db.scalars(select(RegisteredModel))):
        for path in sorted(model_place(studio.settings.folder, row).rglob("*")):
            if path.is_file():
                yield _local(studio, path, f"model {row.name}")


def _read(journal: Path, to: str) -> dict[str, str]:
    """Keys that were copied there and compared, with their hashes; a last line may be cut off."""
    found: dict[str, str] = {}
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["to"] == to:
                found[entry["key"]] = entry["sha256"]
    return found


def _left(studio: Studio, target: Store, files: list[_File]) -> list[Path]:
    """Files in the data folder that the store elsewhere has too."""
    paths = [(one.stored, studio.settings.data / one.stored.key) for one in files]
    return [
        path
        for one, path in paths
        if one.key.startswith(("episodes/", "exports/")) and path.is_file() and target.size(one.key) == one.size
    ]


def _free(path: Path) -> int:
    size = path.stat().st_size
    path.unlink()
    return size


def told(moved: Moved) -> str:
    """What was done, in lines."""
    mib = 2**20
    lines = [f"{moved.files} files ({moved.bytes / mib:.1f} MiB) are what {moved.to} has to have."]
    if moved.copied or moved.before:
        more = f"; {moved.before} were there already" if moved.before else ""
        lines.append(f"{moved.copied} were copied and read back ({moved.copied_bytes / mib:.1f} MiB){more}.")
    lines += moved.damaged
    name = "the data folder" if moved.to == FOLDER else moved.to
    if moved.damaged:
        lines.append(
            f"{len(moved.damaged)} could not be copied, so nothing was switched: the studio's files are where they "
            "were. Restore these from a backup or delete them, then move again."
        )
    elif moved.switched:
        setting = "without STUDIO_STORE" if moved.to == FOLDER else f"with STUDIO_STORE={moved.to}"
        lines.append(f"The studio's files are in {name} now; start it {setting}, on every machine.")
        if moved.origin != FOLDER:
            lines.append(f"What is in {moved.origin} was left there.")
    elif moved.origin == moved.to:
        lines.append(f"The studio's files are in {name}.")
    else:
        lines.append("Nothing was switched yet; move without --copy-only when the studio is stopped.")
    if moved.unneeded:
        lines += [f"warning: {text}" for text in moved.unneeded]
        lines.append(
            "What these warnings name was deleted or edited into other episodes, and no version lists it: it is not "
            "copied, and can be brought back only with its file from a backup."
        )
    if moved.freed_bytes:
        lines.append(f"{moved.freed_bytes / mib:.1f} MiB of the data folder were freed.")
    elif moved.left_bytes:
        lines.append(
            f"{moved.left_bytes / mib:.1f} MiB in the data folder are not needed any more; --free removes them."
        )
    return "\n".join(lines)


def check(settings: Settings) -> str:
    """Raises UserError for a store that cannot be used, or is another one than the studio's files are in."""
    studio = Studio.open(settings)
    try:
        if (wrong := studio.store.problem(write=True)) is not None:
            raise UserError(wrong)
        agree(studio)
        return f"{studio.store.name}: can be read and written, and is where this studio keeps its files."
    finally:
        studio.close()
