"""`studio restore`: a snapshot into a data folder (and a PostgreSQL server, where one is configured).

Everything is built beside what is there, compared with its hashes, brought to the tables of this version, and only
then put in place (worker.admin.backup.switch). A kill before that moment leaves what was there, after it the new.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.core.settings import Settings
from backend.migrations.migrate import known_revisions
from dexvla.errors import UserError
from dexvla.files import fsync_path
from worker.admin.backup import switch
from worker.admin.backup.relocate import relocate_files
from worker.admin.backup.restored_database import connection_to, drop_schema, make_schema, make_sqlite
from worker.admin.backup.store import BLOCK_BYTES, Snapshot, Store, hash_file
from worker.admin.backup.tables import table_names
from worker.core.data_lock import locked

_NAMED = 20  # damaged files in a message
_SPARE_BYTES = 64 * 2**20
_SHM_DMS = 128  # the byte of SQLite's shared memory on which every open connection holds a lock


class Restored(BaseModel):
    """aside: where the former data lie, a folder and for PostgreSQL a schema. left_out: damaged files, by wish."""

    snapshot: str
    made_at: str
    data: str
    files: int
    bytes: int
    rows: int
    revision: str
    migrated_to: str
    seconds: float
    aside: list[str]
    left_out: list[str]
    missing: list[str]


def restore(
    settings: Settings,
    source: Path,
    *,
    snapshot: str | None = None,
    replace: bool = False,
    sign_out: bool = False,
    leave_out_damaged: bool = False,
    on_bytes: Callable[[int], object] = lambda count: None,
) -> Restored:
    """Restore the newest snapshot, or the named one. replace: put aside what is in the data folder and the database.

    sign_out: sessions, tokens and links of the snapshot do not count any more; passwords do. Raises UserError.
    """
    started = time.monotonic()
    store = Store.at(source)
    root = settings.folder.root
    if root.resolve().is_relative_to(store.root.resolve()) or store.root.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{root}: the data folder and the folder of backups lie in each other; name another")
    with store.read():
        name, chosen = store.load(snapshot)
        known = known_revisions()
        if chosen.revision not in known:
            raise UserError(
                f"the snapshot {name} was made by a newer studio ({chosen.version}, revision {chosen.revision}); "
                "restore it with that version"
            )
        with _disk_errors_in_words(root):
            root.mkdir(parents=True, exist_ok=True)
            with locked(settings.folder):
                switch.finish(settings)
                _refuse_others(settings)
                _refuse_occupied(settings, replace=replace)
                _refuse_small(store, root, chosen)
                journal, left_out = _build(
                    settings, store, name, chosen, sign_out=sign_out, leave_out=leave_out_damaged, on_bytes=on_bytes
                )
                switch.begin(settings, journal)
                switch.finish(settings)
    aside = [str(root / journal.aside)] if (root / journal.aside).exists() else []
    if journal.schema_aside is not None:
        aside.append(f"schema {journal.schema_aside} of the database")
    return Restored(
        snapshot=name,
        made_at=chosen.made_at,
        data=str(root),
        files=len(chosen.files) - len(left_out),
        bytes=sum(entry.size for entry in chosen.files),
        rows=sum(table.rows for table in chosen.tables),
        revision=chosen.revision,
        migrated_to=known[0],
        seconds=round(time.monotonic() - started, 3),
        aside=aside,
        left_out=left_out,
        missing=[f"{entry.what}: {entry.path} {entry.why}" for entry in chosen.missing],
    )


@contextmanager
def _disk_errors_in_words(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = "free some space, or name another folder with --to" if full else "name another folder with --to"
        raise UserError(
            f"{root}: nothing was restored: {error.strerror or error} ({error.filename or 'while writing'}); {advice}"
        ) from error
    except OperationalError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise UserError(f"nothing was restored: the database cannot be used: {said}") from error


def _refuse_others(settings: Settings) -> None:
    """The lock is `studio up`'s; an API or a worker that was started by itself is found by its open database."""
    message = "{who}; stop the API, workers and robot hosts first"
    if settings.database_url is None:
        shared = Path(f"{settings.folder.database}-shm")
        if not shared.exists():
            return
        with shared.open("r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _SHM_DMS)
            except OSError:
                place = settings.folder.database
                raise UserError(message.format(who=f"{place}: another process has this database open")) from None
        return
    with connection_to(settings) as connection:
        others = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
        )
    if others:
        raise UserError(message.format(who=f"{others} other connections use the database"))


def _refuse_occupied(settings: Settings, *, replace: bool) -> None:
    root = settings.folder.root
    mounted = [name for name in switch.entries_of(settings.folder) if os.path.ismount(root / name)]
    if mounted:
        raise UserError(f"{root / mounted[0]}: is a disk of its own and cannot be put aside; name another folder, --to")
    if replace:
        return
    for name in switch.entries_of(settings.folder):
        path = root / name
        if path.is_symlink() or path.is_file() or any(not one.is_dir() for one in path.rglob("*")):
            raise UserError(
                f"{root}: is not empty ({name}); --replace puts what is there aside, as {switch.ASIDE}TIME, or name a "
                "new folder with --to"
            )
    if settings.database_url is not None:
        with connection_to(settings) as connection:
            for table in table_names(connection):
                quoted = connection.dialect.identifier_preparer.quote(table)
                if connection.scalar(text(f"SELECT 1 FROM {quoted} LIMIT 1")):
                    raise UserError(
                        f"the database is not empty ({table}); --replace puts its tables aside, into a schema of their "
                        "own, or name another database with DATABASE_URL"
                    )


def _refuse_small(store: Store, root: Path, snapshot: Snapshot) -> None:
    need = (
        sum(entry.size for entry in snapshot.files) + 20 * sum(table.size for table in snapshot.tables) + _SPARE_BYTES
    )
    free = shutil.disk_usage(root).free
    if free < need:
        raise UserError(
            f"{root}: the backup needs about {need / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free; free some "
            "space, or name another folder with --to"
        )


def _build(
    settings: Settings,
    store: Store,
    name: str,
    snapshot: Snapshot,
    *,
    sign_out: bool,
    leave_out: bool,
    on_bytes: Callable[[int], object],
) -> tuple[switch.Journal, list[str]]:
    root = settings.folder.root
    staging = root / f"{switch.STAGING}{uuid.uuid4().hex[:8]}"
    staging.mkdir(mode=0o700)
    schema = None if settings.database_url is None else f"{switch.SCHEMA}{uuid.uuid4().hex[:8]}"
    try:
        _refuse_damaged_tables(store, name, snapshot)
        damaged = _copy_files(store, staging, snapshot, on_bytes=on_bytes)
        if damaged and not leave_out:
            raise UserError(_damage(name, damaged, store))
        if schema is None:
            make_sqlite(settings, store, staging, snapshot, name, sign_out=sign_out)
        else:
            make_schema(settings, store, schema, snapshot, name, sign_out=sign_out)
        if snapshot.data != str(root):
            relocate_files(staging, snapshot.data, str(root))
        _hand_over(root, staging)
        return _journal(settings, name, staging, schema), sorted(damaged)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if schema is not None:
            drop_schema(settings, schema)
        raise


def _journal(settings: Settings, name: str, staging: Path, schema: str | None) -> switch.Journal:
    moment = switch.moment()
    aside, number = f"{switch.ASIDE}{moment}", 2
    while (settings.folder.root / aside).exists():
        aside, number = f"{switch.ASIDE}{moment}-{number}", number + 1
    old_schema = None
    if schema is not None:
        with connection_to(settings) as connection:
            usual = str(connection.scalar(text("SELECT current_schema()")))
            if switch.tables_in(connection, usual):
                old_schema = aside.replace("-", "_").lower()
    return switch.Journal(
        snapshot=name,
        staging=staging.name,
        aside=aside,
        old=switch.entries_of(settings.folder),
        new=sorted(entry.name for entry in staging.iterdir()),
        schema_=schema,
        schema_aside=old_schema,
    )


# -- files ---------------------------------------------------------------------------------------------------------


def _copy_files(
    store: Store, staging: Path, snapshot: Snapshot, *, on_bytes: Callable[[int], object]
) -> dict[str, str]:
    """Every file at its place below `staging`, on disk. Returns path -> what is wrong, of those that are damaged."""
    damaged: dict[str, str] = {}
    for entry in snapshot.files:
        target = staging / entry.path
        if not target.resolve().is_relative_to(staging.resolve()):
            damaged[entry.path] = "leads out of the data folder"
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            why = _copy(store.object(entry.sha256), target, entry.sha256, on_bytes)
        except FileNotFoundError:
            why = "is missing"
        except _ObjectError as error:
            why = str(error)
        if why is not None:
            target.unlink(missing_ok=True)
            damaged[entry.path] = why
            continue
        target.chmod(entry.mode & 0o777)
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
    return damaged


class _ObjectError(Exception):
    """An object of the backup cannot be read."""


def _copy(source: Path, target: Path, sha256: str, on_bytes: Callable[[int], object]) -> str | None:
    """None, or what is wrong with the object."""
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("xb", buffering=0) as copy:
        while True:
            try:
                block = file.read(BLOCK_BYTES)
            except OSError as error:
                raise _ObjectError(f"cannot be read ({error.strerror})") from error
            if not block:
                break
            digest.update(block)
            view = memoryview(block)
            while view:
                view = view[copy.write(view) :]
            on_bytes(len(block))
        os.fsync(copy.fileno())
    return None if digest.hexdigest() == sha256 else "holds other bytes than were backed up"


def _refuse_damaged_tables(store: Store, name: str, snapshot: Snapshot) -> None:
    for table in snapshot.tables:
        try:
            good = hash_file(store.object(table.sha256))[0] == table.sha256
        except OSError:
            good = False
        if not good:
            raise UserError(
                f"the snapshot {name} cannot be restored: its table {table.name} is damaged or missing; nothing was "
                f"changed. Others here: {', '.join(one for one in store.names() if one != name) or 'none'}"
            )


def _damage(name: str, damaged: dict[str, str], store: Store) -> str:
    listed = "; ".join(f"{path} {why}" for path, why in sorted(damaged.items())[:_NAMED])
    more = f"; and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    others = ", ".join(one for one in store.names() if one != name) or "none"
    return (
        f"{len(damaged)} files of the snapshot {name} are damaged: {listed}{more}. Nothing was changed. Take another "
        f"snapshot with --snapshot (others here: {others}), or restore without them with --leave-out-damaged"
    )


def _hand_over(root: Path, staging: Path) -> None:
    """Folders for the owner alone, on disk; all belongs to the data folder's owner, also if root restores."""
    owner = root.stat()
    give = os.geteuid() == 0 and owner.st_uid != 0
    for folder, _, files in os.walk(staging):
        Path(folder).chmod(0o700)
        if give:
            for path in (Path(folder), *(Path(folder) / name for name in files)):
                os.chown(path, owner.st_uid, owner.st_gid)
        fsync_path(Path(folder))
