"""The disk of the data folder: what is left of it, and what is kept back for the day when nothing is.

On a full disk SQLite cannot even delete a row. So while there is room the studio holds some of it:

- the write-ahead log keeps its blocks (SQLite starts it again from its beginning after each checkpoint),
- the database has empty pages, which rows are written into before the file has to grow,
- and a file, `reserve`, is given up when a write finds no room all the same, or when the studio starts without any.

Signing in, deleting, cancelling, and robots that announce themselves go on with that. See docs/decisions/studio.md.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from sqlalchemy import text

from backend.core.db import LOG_BYTES, Database
from backend.core.folders import DataFolder

PAGES_BYTES = 8 * 2**20  # of empty pages in the database
FILE_BYTES = 8 * 2**20  # of the file that is given up
SCARCE_BYTES = 64 * 2**20  # with less the studio says so; uploads and recordings are refused anyway, see their rooms
FULL_BYTES = 2**20
_SPARE_BYTES = 32 * 2**20  # what the reserve leaves for others
_LOOK_SECONDS = 1.0


@dataclass
class Found:
    """What a look at the data folder found (backend.storage), and what is done about it; one a process.

    strays: files without rows, by kind; missing: rows without files, in words. note: of the last adoption.
    """

    at: float = float("-inf")
    strays: dict[str, list[Path]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    busy: bool = False
    note: str | None = None
    lock: Lock = field(default_factory=Lock)


class Space:
    """Free space of the data folder, looked at once a second, and the file of the reserve."""

    def __init__(self, folder: DataFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._looked: tuple[float, int] | None = None

    def free(self) -> int:
        """Bytes that the studio's user may still write; 0 where no file can be made any more."""
        now = self._clock()
        if self._looked is None or now - self._looked[0] > _LOOK_SECONDS:
            self._looked = now, _free(self._folder.root)
        return self._looked[1]

    @property
    def full(self) -> bool:
        return self.free() < FULL_BYTES

    @property
    def freeing_only(self) -> bool:
        """Whether the reserve was touched and the disk is still full: only what frees space may write now."""
        return self.full and not self._folder.reserve.exists()

    def give_up(self) -> bool:
        """Remove the file of the reserve; returns whether there was one."""
        self._looked = None
        try:
            self._folder.reserve.unlink()
        except OSError:
            return False
        return True

    def report(self) -> str:
        """ "ok", or what is wrong with the disk and what to do about it."""
        free = self.free()
        if free >= SCARCE_BYTES:
            return "ok"
        how = "full" if free < FULL_BYTES else "nearly full"
        return (
            f"{how}, {free / 2**20:.0f} MB free: delete checkpoints, runs or episodes that are not needed, or make "
            "room otherwise"
        )


def _free(root: Path) -> int:
    try:
        found = os.statvfs(root)
    except OSError:
        return 0
    if found.f_files and not found.f_favail:
        return 0
    return found.f_bavail * found.f_frsize


def hold(database: Database, folder: DataFolder) -> None:
    """Build what is missing of the reserve, as far as there is room; with another database than SQLite the file alone.

    Raises OSError and SQLAlchemyError.
    """
    if database.sqlite:
        _hold_log(database, folder)
        _hold_pages(database, folder)
    if not folder.reserve.exists() and _room(folder, FILE_BYTES):
        temporary = folder.reserve.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
            os.replace(temporary, folder.reserve)
        finally:
            temporary.unlink(missing_ok=True)


def _room(folder: DataFolder, needed: int) -> bool:
    return _free(folder.root) > 2 * needed + _SPARE_BYTES


def _hold_log(database: Database, folder: DataFolder) -> None:
    """What lies behind the log's last frame is nothing to SQLite: it may be there already."""
    log = folder.database.with_name(f"{folder.database.name}-wal")
    with database.transaction() as db:
        db.connection()  # the write lock: nobody else writes into the log meanwhile
        with suppress(FileNotFoundError), log.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size < LOG_BYTES and _room(folder, LOG_BYTES - size):
                os.posix_fallocate(file.fileno(), size, LOG_BYTES - size)


def _hold_pages(database: Database, folder: DataFolder) -> None:
    """A table is filled, written into the database's file, and dropped: its pages stay."""
    with database.transaction(write=False) as db:
        empty = db.scalar(text("PRAGMA freelist_count")) * db.scalar(text("PRAGMA page_size"))
    missing = PAGES_BYTES - empty
    if missing < PAGES_BYTES // 2 or not _room(folder, 2 * missing):
        return
    with database.transaction() as db:
        db.execute(text("CREATE TABLE IF NOT EXISTS reserve (filler BLOB)"))
        db.execute(text("INSERT INTO reserve VALUES (randomblob(:bytes))"), {"bytes": missing})
    database.checkpoint()
    with database.transaction() as db:
        db.execute(text("DROP TABLE IF EXISTS reserve"))
    database.checkpoint()
