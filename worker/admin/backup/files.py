"""Files of a data folder that is at work -> objects. What did not change since an earlier backup is not read again."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from worker.admin.backup.needed import left_out
from worker.admin.backup.store import BLOCK_BYTES, FileEntry, Store, hash_file

_PINNED = 200  # files of one folder that are held open at once
_LOOKS = 5  # at a folder that changes while it is being looked at
_COPIES = 3  # of a file that changes while it is being copied
_FRESH_NS = 2 * 10**9  # a file changed so shortly ago may change again without its times showing it
# files that are only ever added to; everything else is replaced as a whole
_GROWING = (".jsonl", ".txt", ".log", ".partial")


class Collector:
    """Stores files below `root` as objects and remembers under `entries` what it stored.

    known: entries of the newest snapshot by path. A file whose inode, size and times are those of an entry, of which
    the object is there, is not read.
    """

    def __init__(
        self, store: Store, root: Path, known: dict[str, FileEntry], *, on_bytes: Callable[[int], object]
    ) -> None:
        self.store, self.root = store, root
        self._on_bytes = on_bytes
        self.entries: dict[str, FileEntry] = dict(known)
        self.taken: set[str] = set()  # paths that this backup has looked at
        self.unreadable: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.new_files, self.new_bytes, self.read_bytes = 0, 0, 0

    def file(self, path: str) -> bool:
        """Store one file. False if it is not there."""
        return self._store(path, None)

    def had(self, path: str) -> bool:
        """Whether this backup stored the file at an earlier look, though it is gone by now."""
        return path in self.taken and path in self.entries

    def tree(self, top: str) -> list[str]:
        """Store everything below a folder as it is at one moment. Returns the paths; none if it is not there.

        What is new is opened before anything is read, and the folder is looked at again: if it is the same, the open
        files are what was there together, whatever is pruned while they are being copied.
        """
        for _ in range(_LOOKS):
            paths = self._walk(top)
            with ExitStack() as held:
                opened: dict[str, IO[bytes]] = {}
                changed = [path for path in paths if not self._unchanged(path)]
                try:
                    for path in changed[:_PINNED]:
                        opened[path] = held.enter_context((self.root / path).open("rb"))
                except OSError:
                    pass  # gone already, or not to be read: told below
                if self._walk(top) != paths:
                    continue
                if all([self._store(path, opened.get(path)) or path in self.unreadable for path in paths]):
                    return paths
        return [path for path in self._walk(top) if self._store(path, None)]

    def _walk(self, top: str) -> list[str]:
        found: list[str] = []
        start = self.root / top
        for folder, names, files in os.walk(start):
            names.sort()
            for name in files:
                path = (Path(folder) / name).relative_to(self.root).as_posix()
                if left_out(path):
                    continue
                try:
                    mode = (Path(folder) / name).lstat().st_mode
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(mode):
                    found.append(path)
                elif stat.S_ISLNK(mode):
                    self.notes[path] = f"{path} is a link and was left out"
        return sorted(found)

    def _unchanged(self, path: str) -> bool:
        """Whether the stored entry is what the file still is."""
        entry = self.entries.get(path)
        if entry is None or entry.facts is None:
            return False
        try:
            found = (self.root / path).stat()
        except OSError:
            return False
        same = _facts(found) == entry.facts and found.st_size == entry.size
        return same and self.store.holds(entry.sha256, entry.size)

    def _store(self, path: str, opened: IO[bytes] | None) -> bool:
        if self._unchanged(path):
            self.taken.add(path)
            return True
        try:
            if opened is not None:
                entry = self._copy(path, opened)
            else:
                with (self.root / path).open("rb") as file:
                    entry = self._copy(path, file)
        except FileNotFoundError:
            return False
        except _SourceError as error:
            self.unreadable[path] = str(error)
            return True
        except OSError as error:
            if error.filename is None or Path(error.filename) != self.root / path:
                raise  # of the backup's own disk
            self.unreadable[path] = error.strerror or str(error)
            return True
        self.entries[path] = entry
        self.taken.add(path)
        self.unreadable.pop(path, None)
        return True

    def _copy(self, path: str, file: IO[bytes]) -> FileEntry:
        """One reading into `tmp`, hashed on the way. A file that grows counts up to the length it had at first."""
        growing = path.endswith(_GROWING) or "/tensorboard/" in path
        for attempt in range(_COPIES):
            before = os.fstat(file.fileno())
            sha256, size, temporary = self._read(path, file, before.st_size)
            after = os.fstat(file.fileno())
            whole = size == before.st_size
            still = whole and _facts(before)[1] == _facts(after)[1] and after.st_size == before.st_size
            if still or (growing and whole) or attempt == _COPIES - 1:
                break
            if temporary is not None:
                temporary.unlink()
        if not still and not (growing and whole):
            self.notes[path] = f"{path} was written to while it was copied, {_COPIES} times; it may be torn"
        if temporary is not None and self.store.add(temporary, sha256, size):
            self.new_files += 1
            self.new_bytes += size
        facts = _facts(after)
        fresh = not still or time.time_ns() - max(facts[1:]) < _FRESH_NS
        return FileEntry(
            path=path,
            sha256=sha256,
            size=size,
            mode=stat.S_IMODE(before.st_mode),
            mtime_ns=before.st_mtime_ns,
            facts=None if fresh else facts,
        )

    def _read(self, path: str, file: IO[bytes], length: int) -> tuple[str, int, Path | None]:
        """sha256, length, and the copy; None where the object is there already."""
        last = self.entries.get(path)
        if last is not None and last.size == length and self.store.holds(last.sha256, length):
            # touched, moved to another disk, or restored: probably the same, and then nothing has to be written
            sha256, size = self._hash(file, length, None)
            if self.store.holds(sha256, size):
                return sha256, size, None
        temporary = self.store.temporary()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as target:
                sha256, size = self._hash(file, length, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return sha256, size, temporary

    def _hash(self, file: IO[bytes], length: int, target: IO[bytes] | None) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        while size < length:
            try:
                block = file.read(min(BLOCK_BYTES, length - size))
            except OSError as error:
                raise _SourceError(f"reading it failed: {error.strerror}") from error
            if not block:
                break  # cut off meanwhile
            digest.update(block)
            if target is not None:
                view = memoryview(block)
                while view:
                    view = view[target.write(view) :]
            size += len(block)
            self.read_bytes += len(block)
            self._on_bytes(len(block))
        return digest.hexdigest(), size


class _SourceError(Exception):
    """A file of the data folder, unlike one of the backup, cannot be read."""


def _facts(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def damaged_objects(store: Store, objects: Iterable[tuple[str, int]]) -> dict[str, str]:
    """sha256 -> what is wrong, of all objects that are not what their names say. Reads them all."""
    wrong: dict[str, str] = {}
    for sha256, size in objects:
        try:
            found, length = hash_file(store.object(sha256))
        except FileNotFoundError:
            wrong[sha256] = "is missing"
        except OSError as error:
            wrong[sha256] = f"cannot be read ({error.strerror})"
        else:
            if found != sha256:
                wrong[sha256] = f"holds {length} of {size} bytes" if length != size else "holds other bytes"
    return wrong
