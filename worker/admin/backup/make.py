"""`studio backup`: the database and its files as they are together, while the studio works.

Looks again and again until everything that one reading of the database refers to is stored. The first look copies what
is new, for hours perhaps; the next ones only what came meanwhile, so that the last reading and its files are moments
apart. What was stored at an earlier look and deleted since is still there for a reading that knows it.
"""

import os
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

import dexvla
from backend.audit.service import record
from backend.core.db import Database, utc_now
from backend.core.settings import Settings
from backend.migrations.migrate import known_revisions
from dexvla.errors import UserError
from worker.admin.backup.files import Collector, damaged_objects
from worker.admin.backup.needed import Needed, leave_to_store, needed
from worker.admin.backup.store import MissingEntry, Snapshot, Store, TableEntry, hash_file
from worker.admin.backup.switch import refuse_interrupted
from worker.admin.backup.tables import table_names, write_table

_LOOKS = 10
_SAME = 3  # looks at which the same files were not there: they are gone, and the database does not know
_WAIT_SECONDS = 0.5


class Made(BaseModel):
    """What a backup did. files and bytes: of the data folder, whole; new_*: what had to be stored for it.

    read_bytes: of files that had changed, or might have. removed: older snapshots. looks: at the database.
    """

    snapshot: str
    folder: str
    revision: str
    files: int
    bytes: int
    rows: int
    new_files: int
    new_bytes: int
    read_bytes: int
    looks: int
    seconds: float
    missing: list[MissingEntry]
    outside: list[str]
    notes: list[str]
    removed: list[str]


def backup(
    settings: Settings, target: Path, *, keep: int | None = None, on_bytes: Callable[[int], object] = lambda count: None
) -> Made:
    """Make a snapshot in the folder `target`, then remove all but the newest `keep`.

    on_bytes is told how many bytes were read. Raises UserError; the snapshots from before stay whole whatever happens.
    """
    started = time.monotonic()
    root = settings.folder.root
    if settings.database_url is None and not settings.folder.database.is_file():
        raise UserError(f"{root}: no studio's data is there; name its folder with --data or STUDIO_DATA")
    refuse_interrupted(settings.folder)
    target = target.absolute()
    real, data = target.resolve(), root.resolve()
    if real.is_relative_to(data) or data.is_relative_to(real):
        raise UserError(f"{target}: lies in the data folder, or around it; a backup belongs elsewhere, on another disk")
    with _disk_errors_in_words(target):
        store = Store.prepared(target)
        with store.locked():
            store.clear()
            try:
                snapshot, collector, looks = _collect(settings, store, on_bytes)
                name = store.publish(snapshot)
            except BaseException:
                with suppress(OSError):
                    store.flush()  # the next one need not copy it again
                with suppress(OSError):
                    store.clear()
                raise
            try:
                removed = store.prune(keep=keep) if keep is not None else []
            except UserError as error:
                raise UserError(f"the snapshot {name} was made, but older ones were not removed: {error}") from error
    unlogged = _write_down(settings, name, snapshot, removed)
    return Made(
        snapshot=name,
        folder=str(target),
        revision=snapshot.revision,
        files=len(snapshot.files),
        bytes=sum(entry.size for entry in snapshot.files),
        rows=sum(table.rows for table in snapshot.tables),
        new_files=collector.new_files,
        new_bytes=collector.new_bytes,
        read_bytes=collector.read_bytes,
        looks=looks,
        seconds=round(time.monotonic() - started, 3),
        missing=snapshot.missing,
        outside=snapshot.outside,
        notes=[*sorted(collector.notes.values()), *unlogged],
        removed=removed,
    )


def _collect(settings: Settings, store: Store, on_bytes: Callable[[int], object]) -> tuple[Snapshot, Collector, int]:
    last = _newest(store)
    known = {entry.path: entry for entry in last.files} if last is not None else {}
    lost_before = {entry.path for entry in last.missing} if last is not None else set()
    collector = Collector(store, settings.folder.root, known, on_bytes=on_bytes)
    database = Database(settings.sql_url)
    recent: list[set[str]] = []
    try:
        for look in range(1, _LOOKS + 1):
            with _reading(database) as connection:
                revision = _revision(connection)
                recordings = _recordings(settings.folder.root, collector)
                contents = needed(connection, settings.folder.root)
                if settings.store_place is not None and (there := leave_to_store(contents, settings.folder.root)):
                    collector.notes["store"] = (
                        f"{there} files are in {settings.store_place.url} and not in this backup, which knows their "
                        "hashes: have that store keep versions, or copy it"
                    )
                if look == 1:  # hours, perhaps: a reading that is open so long keeps the database from tidying up
                    connection.rollback()
                files, gone = _store(collector, contents)
                recent.append(set(gone))
                settled = set(gone) <= lost_before or (len(recent) >= _SAME and recent[-1] == recent[-2] == recent[-3])
                if look == 1 or (not settled and look < _LOOKS):
                    if gone:
                        time.sleep(_WAIT_SECONDS)
                    continue
                tables = [_table(connection, store, collector, name) for name in table_names(connection)]
            missing = [MissingEntry(path=path, what=contents.files[path][1], why="is not there") for path in gone]
            missing += [
                MissingEntry(path=path, what=contents.files.get(path, (None, path))[1], why=why)
                for path, why in sorted(collector.unreadable.items())
            ]
            _compare(collector, contents, missing)
            snapshot = Snapshot(
                made_at=utc_now().isoformat(),
                version=dexvla.__version__,
                revision=revision,
                dialect=database.engine.dialect.name,
                data=str(settings.folder.root),
                tables=tables,
                files=[collector.entries[path] for path in sorted(files | recordings)],
                missing=missing,
                outside=contents.outside,
            )
            return snapshot, collector, look
        raise AssertionError("the last look always ends it")
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        raise UserError(f"the database cannot be read, so there is no backup: {said}") from error
    finally:
        database.close()


def _write_down(settings: Settings, name: str, snapshot: Snapshot, removed: list[str]) -> list[str]:
    """Into the audit log. The backup counts without it: returns what to say where that was not possible."""
    if snapshot.revision != known_revisions()[0]:
        return ["the backup is not in the audit log, which is of an older studio"]
    database = Database(settings.sql_url)
    try:
        with database.transaction() as db:
            record(
                db,
                None,
                "studio.backup",
                name[:64],
                files=len(snapshot.files),
                missing=len(snapshot.missing),
                removed=len(removed),
                by="command line",
            )
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        return [f"the backup is not in the audit log: {said}"]
    finally:
        database.close()
    return []


def _newest(store: Store) -> Snapshot | None:
    """The newest snapshot that can be read: only saves time."""
    for name in reversed(store.names()):
        try:
            return store.load(name)[1]
        except UserError:
            continue
    return None


@contextmanager
def _reading(database: Database) -> Any:
    """A connection whose statements all see the database of one moment; nobody who writes waits for it."""
    engine = database.engine
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with engine.connect() as connection:
        yield connection


def _revision(connection: Connection) -> str:
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None:
        raise UserError("the database has no tables of a studio yet; start the studio once, or run `studio migrate`")
    if present not in known_revisions():
        raise UserError(
            f"the database has the tables of a newer studio (revision {present}); back it up with that version"
        )
    return present


def _recordings(root: Path, collector: Collector) -> set[str]:
    """What robots are recording, before the database is read: a recording that becomes an episode meanwhile is in both,
    and taken for what it is when it is taken in again; the other way round it could be in neither."""
    robots = root / "robots"
    if not robots.is_dir():
        return set()
    tops = [f"robots/{entry.name}" for entry in sorted(robots.iterdir()) if entry.is_dir()]
    return {path for top in tops for path in collector.tree(top) if path in collector.entries}


def _store(collector: Collector, contents: Needed) -> tuple[set[str], list[str]]:
    """Paths that are stored, and those that are not there. New ones first: they are the likeliest to be deleted."""
    stored: set[str] = set()
    gone: list[str] = []
    for path in sorted(contents.files, key=lambda path: (path in collector.entries, path)):
        if collector.file(path):
            if path not in collector.unreadable:
                stored.add(path)
        elif collector.had(path):
            stored.add(path)
        else:
            gone.append(path)
    for top in contents.trees:
        stored |= {path for path in collector.tree(top) if path not in collector.unreadable}
    return stored, sorted(gone)


def _compare(collector: Collector, contents: Needed, missing: list[MissingEntry]) -> None:
    """Files of checkpoints against the hashes of their rows: a bit that flipped is told, not kept in silence."""
    for path, (sha256, what) in sorted(contents.files.items()):
        entry = collector.entries.get(path)
        if sha256 is not None and entry is not None and entry.sha256 != sha256 and path in collector.taken:
            missing.append(MissingEntry(path=path, what=what, why="is not what was saved (its sha256 is another)"))


def _table(connection: Connection, store: Store, collector: Collector, name: str) -> TableEntry:
    temporary = store.temporary()
    try:
        rows = write_table(connection, name, temporary)
        os.chmod(temporary, 0o600)
        sha256, size = hash_file(temporary)
        if store.add(temporary, sha256, size):
            collector.new_files += 1
            collector.new_bytes += size
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return TableEntry(name=name, rows=rows, sha256=sha256, size=size)


@contextmanager
def _disk_errors_in_words(target: Path) -> Any:
    """What is wrong with the backup's disk, in words."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise UserError(
            f"{target}: the backup was not finished: {error.strerror or error}{place}; the snapshots from before are "
            "whole. Free some space there (--keep removes old ones, also with --prune-only), then run it again: what "
            "was copied already is not copied again"
        ) from error


class Verified(BaseModel):
    """damaged: path -> what is wrong, of each snapshot that has something damaged."""

    folder: str
    snapshots: list[str]
    objects: int
    bytes: int
    seconds: float
    damaged: dict[str, dict[str, str]]


def verify(target: Path) -> Verified:
    """Read every object of every snapshot and compare it with its hash. Raises UserError."""
    started = time.monotonic()
    store = Store.at(target)
    with store.read():
        snapshots: dict[str, Snapshot] = {}
        damaged: dict[str, dict[str, str]] = {}
        for name in store.names():
            try:
                snapshots[name] = store.load(name)[1]
            except UserError as error:
                damaged[name] = {f"snapshots/{name}.json": str(error)}
        objects: dict[str, int] = {}
        for snapshot in snapshots.values():
            objects |= snapshot.objects()
        wrong = damaged_objects(store, sorted(objects.items()))
    for name, snapshot in snapshots.items():
        found = {entry.path: wrong[entry.sha256] for entry in snapshot.files if entry.sha256 in wrong}
        found |= {f"table {table.name}": wrong[table.sha256] for table in snapshot.tables if table.sha256 in wrong}
        if found:
            damaged[name] = found
    return Verified(
        folder=str(store.root),
        snapshots=store.names(),
        objects=len(objects),
        bytes=sum(objects.values()),
        seconds=round(time.monotonic() - started, 3),
        damaged=damaged,
    )
