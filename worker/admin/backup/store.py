"""A backup folder: objects named by the sha256 of what they hold, and snapshots that list them.

    studio-backup.json    says that this folder is one
    lock                  held by whoever changes it
    objects/ab/abcd...    a file of the data folder or a table of the database, once, whoever refers to it
    snapshots/NAME.json   one backup; NAME ends in the first digits of the file's own sha256
    tmp/                  what is being written; cleared by the next backup

A snapshot is written last and by a rename, and objects are flushed before they get their names: whatever kills a
backup, the snapshots from before are whole, and the objects that it had stored are found by the next one.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dexvla.errors import UserError
from dexvla.files import atomic_file, fsync_path, write_json

FORMAT: Literal[1] = 1
BLOCK_BYTES = 2**20
_MARK = "studio-backup.json"
_DIGITS = 16  # of a snapshot's sha256 in its name
_SNAPSHOT = re.compile(rf"\d{{8}}T\d{{9}}Z-[0-9a-f]{{{_DIGITS}}}")
_OBJECT = re.compile(r"[0-9a-f]{64}")
_BATCH_FILES, _BATCH_BYTES = 256, 256 * 2**20  # flushed together: a flush of each small file takes longer than itself


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Entry):
    """A file of the data folder. path: below the folder, with /.

    facts: inode, modification and change time in nanoseconds when it was read; a file that still has them and its size
    holds the same. None where it was written to at that time.
    """

    path: str
    sha256: str
    size: int
    mode: int
    mtime_ns: int
    facts: tuple[int, int, int] | None = None


class TableEntry(_Entry):
    """A table of the database, as worker.admin.backup.tables writes it. size: of the object, compressed."""

    name: str
    rows: int
    sha256: str
    size: int


class MissingEntry(_Entry):
    """A file that the database names and that could not be read. what: in a person's words. why: the reason."""

    path: str
    what: str
    why: str


class Snapshot(_Entry):
    """One backup. data: the data folder that it was made of. revision: of the database's tables.

    outside: registered models that lie elsewhere and are not in the backup.
    """

    format: Literal[1] = FORMAT
    made_at: str
    version: str
    revision: str
    dialect: str
    data: str
    tables: list[TableEntry]
    files: list[FileEntry]
    missing: list[MissingEntry] = Field(default_factory=list)
    outside: list[str] = Field(default_factory=list)

    def objects(self) -> dict[str, int]:
        """sha256 -> size of everything that it refers to."""
        entries: list[TableEntry | FileEntry] = [*self.tables, *self.files]
        return {entry.sha256: entry.size for entry in entries}


class Store:
    """The folder of backups at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.snapshots = root / "snapshots"
        self.tmp = root / "tmp"
        self._pending: list[tuple[Path, str]] = []
        self._pending_bytes = 0
        self._pending_names: set[str] = set()

    # -- the folder -----------------------------------------------------------------------------------------------

    @classmethod
    def at(cls, root: Path) -> "Store":
        """An existing one. Raises UserError if `root` is none."""
        root = root.absolute()
        try:
            mark = json.loads((root / _MARK).read_bytes())
        except FileNotFoundError:
            found = "there is no such folder" if not root.exists() else "no backups of a studio are in it"
            raise UserError(f"{root}: {found}; name the folder that `studio backup` was given") from None
        except (ValueError, OSError) as error:
            raise UserError(f"{root / _MARK} cannot be read ({error}); it says what the folder is") from error
        if not isinstance(mark, dict) or mark.get("format") != FORMAT:
            raise UserError(f"{root}: backups in a form that this studio does not know; use the version that made them")
        return cls(root)

    @classmethod
    def prepared(cls, root: Path) -> "Store":
        """Made if it is not there; readable by its owner alone. Raises UserError for a folder with other things."""
        root = root.absolute()
        if (root / _MARK).exists():
            store = cls.at(root)
        else:
            if root.exists() and not root.is_dir():
                raise UserError(f"{root}: is a file; name a folder for the backups")
            if root.exists() and not _ours(root):
                raise UserError(f"{root}: holds other files and is no folder of backups; name an empty or a new one")
            store = cls(root)
            root.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # a mounted disk may belong to somebody else
            root.chmod(0o700)
        for folder in (store.objects, store.snapshots, store.tmp):
            folder.mkdir(exist_ok=True, mode=0o700)
        if not (root / _MARK).exists():
            write_json(root / _MARK, {"format": FORMAT})
        return store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other backups. Raises UserError if one is at work in it."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.root}: another backup is being made in this folder; wait for it") from None
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Keep others from removing anything meanwhile, where the folder allows that (it may be mounted read-only)."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.root}: a backup is being made in this folder; wait for it") from None
            yield
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Remove what a killed backup left half-written."""
        for entry in self.tmp.iterdir():
            entry.unlink()
        for entry in self.snapshots.glob(".*.tmp"):
            entry.unlink()

    # -- objects --------------------------------------------------------------------------------------------------

    def object(self, sha256: str) -> Path:
        return self.objects / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether the object is there in its full length; what it holds is `verify`'s to say."""
        if sha256 in self._pending_names:
            return True
        try:
            return self.object(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def temporary(self) -> Path:
        return self.tmp / uuid.uuid4().hex

    def add(self, temporary: Path, sha256: str, size: int) -> bool:
        """Take a complete file from `tmp` as an object; it may get its name a little later. False if it was there."""
        if self.holds(sha256, size):
            temporary.unlink()
            return False
        self._pending.append((temporary, sha256))
        self._pending_names.add(sha256)
        self._pending_bytes += size
        if len(self._pending) >= _BATCH_FILES or self._pending_bytes >= _BATCH_BYTES:
            self.flush()
        return True

    def flush(self) -> None:
        """On return everything added is on disk under its name."""
        for temporary, _ in self._pending:
            fsync_path(temporary)
        folders = set()
        for temporary, sha256 in self._pending:
            target = self.object(sha256)
            if target.parent not in folders and not target.parent.is_dir():
                target.parent.mkdir(mode=0o700)
                folders.add(self.objects)
            folders.add(target.parent)
            os.replace(temporary, target)
        for folder in folders:
            fsync_path(folder)
        self._pending, self._pending_bytes, self._pending_names = [], 0, set()

    # -- snapshots ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Of all snapshots, oldest first."""
        if not self.snapshots.is_dir():
            return []
        return sorted(path.stem for path in self.snapshots.glob("*.json") if _SNAPSHOT.fullmatch(path.stem))

    def publish(self, snapshot: Snapshot) -> str:
        """Write it; from then on it counts. Returns its name."""
        self.flush()
        data = (snapshot.model_dump_json(exclude_defaults=True) + "\n").encode()
        moment = datetime.fromisoformat(snapshot.made_at).astimezone(UTC)
        if names := self.names():  # by name the newest is the last, also when the clock was set back
            moment = max(moment, _moment(names[-1]) + timedelta(milliseconds=1))
        name = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{hashlib.sha256(data).hexdigest()[:_DIGITS]}"
        with atomic_file(self.snapshots / f"{name}.json") as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(data)
        return name

    def load(self, name: str | None = None) -> tuple[str, Snapshot]:
        """The snapshot of that name, or of which it is the beginning; None: the newest. Raises UserError."""
        names = self.names()
        if not names:
            raise UserError(f"{self.root}: holds no finished backup yet")
        found = names[-1:] if name is None else [one for one in names if one.startswith(name)]
        if len(found) != 1:
            several = "several snapshots begin with" if found else "there is no snapshot"
            raise UserError(f"{self.root}: {several} {name!r}; there are: {', '.join(names[-20:])}")
        data = (self.snapshots / f"{found[0]}.json").read_bytes()
        others = ", ".join(one for one in names if one != found[0]) or "none"
        if not hashlib.sha256(data).hexdigest().startswith(found[0].rpartition("-")[2]):
            raise UserError(f"the snapshot {found[0]} is damaged (its sha256 is another); others here: {others}")
        try:
            return found[0], Snapshot.model_validate_json(data)
        except ValidationError as error:
            raise UserError(
                f"the snapshot {found[0]} is in a form that this studio does not know; restore it with the version "
                "that made it"
            ) from error

    def prune(self, *, keep: int) -> list[str]:
        """Remove all snapshots but the newest `keep`, then the objects that no other refers to. Returns the names.

        Snapshots go first: a kill in between leaves objects that nobody needs, never one that somebody lacks.
        Raises UserError, before anything is removed, if a snapshot that stays cannot be read.
        """
        assert keep >= 1
        names = self.names()
        needed: set[str] = set()
        for name in names[-keep:]:
            needed |= self.load(name)[1].objects().keys()
        gone = names[:-keep]
        for name in gone:
            (self.snapshots / f"{name}.json").unlink()
        if gone:
            fsync_path(self.snapshots)
        for folder in sorted(self.objects.iterdir()):
            for path in folder.iterdir():
                if path.name not in needed and _OBJECT.fullmatch(path.name):
                    path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
        return gone


def _ours(root: Path) -> bool:
    """Whether a folder without the mark is empty, or what a first backup left that was killed at its very start."""
    names = {entry.name for entry in root.iterdir()} - {"lost+found"}
    begun = {"objects", "snapshots", "tmp", "lock"}
    return all(name in begun or name.startswith(f".{_MARK}.") for name in names) and not any(
        path.is_file() for name in begun - {"lock"} for path in (root / name).rglob("*")
    )


def _moment(name: str) -> datetime:
    """Of a snapshot's name."""
    return datetime.strptime(name.partition("-")[0][:-1] + "000", "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


def hash_file(path: Path) -> tuple[str, int]:
    """sha256 and length of what is in a file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
