"""Files of a store elsewhere, kept on this machine by the hash of their bytes.

An entry is a file, or a folder of files, under its hash: whole and right, or not there. Processes of a machine share
the cache; of several that want the same entry one fetches it. Beyond its bound what was used longest ago is removed,
except for what somebody has open, has linked to another place (a job's data), or asked for within the last minute.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from backend.store.base import StoreDamagedError
from dexvla.files import atomic_directory, atomic_file, fsync_path

_SPARE_BYTES = 64 * 2**20  # of the disk, for everybody else
_RECENT_SECONDS = 60.0  # between a path that was given out and its opening
_LOOK_PARTS = 20  # of the bound: so much may come in between two looks at what is there

Fetch = Callable[[BinaryIO], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file of an entry. fetch: writes its bytes."""

    sha256: str
    size: int
    fetch: Fetch


@dataclass(frozen=True, kw_only=True)
class _Entry:
    path: Path
    size: int
    used_at: float


class Cache:
    """limit: bytes. What is needed at once may go beyond it; the disk's end is an OSError (ENOSPC)."""

    def __init__(self, root: Path, *, limit: int, recent_seconds: float = _RECENT_SECONDS) -> None:
        self._root, self._limit, self._recent = root, limit, recent_seconds
        self._added: int | None = None  # since the last look; None before the first one

    def file(self, wanted: Wanted) -> Path:
        path = self._place(wanted.sha256)
        if self._there(path, lambda: path.stat().st_size == wanted.size):
            return path
        with self._only_one(wanted.sha256):
            if not self._there(path, lambda: path.stat().st_size == wanted.size):
                self._make_room(wanted.size)
                with atomic_file(path) as temporary:
                    _fetch(wanted, temporary)
        return path

    def folder(self, name: str, files: Mapping[str, Wanted]) -> Path:
        """name: a hash that stands for all of `files`, by name."""
        path = self._place(name)
        if self._there(path, lambda: _sizes(path) == {key: one.size for key, one in files.items()}):
            return path
        with self._only_one(name):
            if not self._there(path, lambda: True):
                self._make_room(sum(one.size for one in files.values()))
                with atomic_directory(path) as temporary:
                    for key, one in files.items():
                        _fetch(one, temporary / key)
        return path

    def take(self, source: Path, sha256: str) -> None:
        """Keep `source`, whose bytes are known to be those; it is gone from its place after this."""
        path = self._place(sha256)
        self._count(source.stat().st_size)  # it lies on this disk already
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(source, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            source.unlink()  # it lies on another disk: it is fetched when it is wanted
            return
        _use(path)
        fsync_path(path.parent)

    def trim(self, *, room: int = 0) -> int:
        """Remove what was used longest ago until `room` bytes fit below the bound and on the disk; returns how many
        bytes were removed."""
        entries = sorted(self._entries(), key=lambda entry: entry.used_at)
        kept, removed = sum(entry.size for entry in entries), 0
        free = shutil.disk_usage(self._root).free if self._root.is_dir() else 0
        for entry in entries:
            if kept - removed + room <= self._limit and free + removed >= room + _SPARE_BYTES:
                break
            if self._evict(entry):
                removed += entry.size
        return removed

    def _place(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _there(self, path: Path, fits: Callable[[], bool]) -> bool:
        """Whether it is there; then it counts as used now, and stays for the next minute at least."""
        if not path.exists():
            return False
        with self._evicting(shared=True):
            try:
                _use(path)
                return fits()
            except FileNotFoundError:
                return False

    @contextmanager
    def _evicting(self, *, shared: bool = False) -> Iterator[None]:
        """Held for moments: by whoever removes an entry, and shared by those who say that they use one."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".evicting").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield

    @contextmanager
    def _only_one(self, name: str) -> Iterator[None]:
        """Of all processes and threads one fetches this. A process that is killed lets go of it."""
        path = self._root / "fetching" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with path.open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                        try:
                            yield
                        finally:
                            path.unlink(missing_ok=True)
                        return

    def _make_room(self, size: int) -> None:
        """Raises OSError (ENOSPC) where the disk has no room even without what may be removed."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._count(size)
        if shutil.disk_usage(self._root).free < size + _SPARE_BYTES:
            self.trim(room=size)
            if shutil.disk_usage(self._root).free < size + _SPARE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._root))

    def _count(self, size: int) -> None:
        """So many bytes come in: looks at what is there now and then, and removes what is beyond the bound."""
        if self._added is None or self._added + size > self._limit // _LOOK_PARTS:
            self.trim(room=size)
            self._added = 0
        self._added += size

    def _entries(self) -> Iterator[_Entry]:
        for path in self._root.glob("??/*"):
            if path.name.startswith("."):
                continue  # being fetched, or left by a kill: the sweeper's
            with suppress(FileNotFoundError):
                size = sum(_sizes(path).values()) if path.is_dir() else path.stat().st_size
                yield _Entry(path=path, size=size, used_at=_used_at(path))

    def _evict(self, entry: _Entry) -> bool:
        """Whether it was removed."""
        with self._evicting():
            try:
                if time.time() - _used_at(entry.path) < self._recent:
                    return False
                files = list(entry.path.iterdir()) if entry.path.is_dir() else [entry.path]
                if any(file.stat().st_nlink > 1 or _is_open(file) for file in files):
                    return False
            except FileNotFoundError:
                return False
            _remove(entry.path)
            return True


def _fetch(wanted: Wanted, target: Path) -> None:
    """Raises StoreDamagedError."""
    with target.open("xb") as file:
        wanted.fetch(file)
    found = target.stat().st_size
    if found != wanted.size:
        raise StoreDamagedError(f"it has {found} bytes, not {wanted.size}")
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wanted.sha256:
        raise StoreDamagedError(f"its sha256 is {digest[:16]}..., what was put has {wanted.sha256[:16]}...")


def _use(path: Path) -> None:
    """Its time of access says so; that of its change stays, which others go by."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _used_at(path: Path) -> float:
    found = path.stat()
    return max(found.st_atime, found.st_mtime)


def _sizes(folder: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_size for entry in folder.iterdir()}


def _is_open(path: Path) -> bool:
    """Whether any process has it open or mapped: Linux gives a lease for writing on such a file to nobody.

    Where a file system knows no leases nobody can say; there a reader keeps what it has open, as everywhere, though the
    cache has forgotten it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Whoever opens it in this very moment waits until the lease is given back; the signal for that is one that ends
        # no process.
        fcntl.fcntl(descriptor, _SET_SIGNAL, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


_SET_SIGNAL = 10  # F_SETSIG, which Python does not name


def _remove(path: Path) -> None:
    """Under another name first: a folder that is half removed is no entry."""
    gone = path.with_name(f".{path.name}.gone.tmp")
    with suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(gone, ignore_errors=True)
            os.rename(path, gone)
            shutil.rmtree(gone, ignore_errors=True)
        else:
            path.unlink()
