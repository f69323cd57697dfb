"""What is known of episode files, so that no training reads them all again: a folder of small files.

A file is known by its content: `facts/` holds what was read of it under the sha256 of its bytes, `sums/` what was
computed of its motion for one purpose. `files/` says which sha256 a path had when its inode, size and times were these;
whenever any of them is another, the file is hashed, and read anew where its hash is unknown. So nothing is ever out of
date, whoever wrote, copied, moved or put back a file.

What nobody has used for three months goes. Entries carry their own hash: one that is damaged is as good as missing.
They are renamed into place whole, and several writers of one entry write the same. All of it may be deleted at any
time.
"""

import hashlib
import itertools
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dexvla.checksums import file_sha256
from dexvla.episodes.facts import EpisodeFacts, MotionSums, read_facts
from dexvla.episodes.reader import open_episode
from dexvla.episodes.sums import Sums
from dexvla.errors import EpisodeError
from dexvla.spec import Spec

FORMAT = 1  # to be raised whenever the same file would be read otherwise
CACHE_VARIABLE = "DEXVLA_CACHE"
_DAY_SECONDS = 86_400.0
_KEPT_SECONDS = 90 * _DAY_SECONDS  # since its last use, to the day
_SETTLED_SECONDS = 2.0  # times of some file systems are no finer: a younger file may change and look the same
_SpecT = TypeVar("_SpecT", bound=Spec)
_Array = NDArray[np.float32]
_log = logging.getLogger(__name__)


class Stamp(Spec):
    """What a file system says of a file, and says otherwise once it was written to or replaced. Times in ns."""

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Raises EpisodeError where there is no file."""
        try:
            found = path.stat()
        except OSError as error:
            raise EpisodeError(f"{path}: no such file") from error
        return cls(inode=found.st_ino, size=found.st_size, modified=found.st_mtime_ns, changed=found.st_ctime_ns)


class _Noted(Spec):
    """sha256: of the file's bytes when its stamp was this."""

    path: str
    stamp: Stamp
    sha256: str


class KnownEpisodes:
    """The folder, or nothing (None): then every file is read whenever it is asked for."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / f"format-{FORMAT}"
        self._told = self._swept = False

    @classmethod
    def usual(cls) -> "KnownEpisodes":
        """In the folder that DEXVLA_CACHE names, or in the cache folder of whoever runs the program."""
        named = os.environ.get(CACHE_VARIABLE)
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return cls.below(Path(named or os.path.join(home, "dexvla")))

    @classmethod
    def below(cls, cache: Path) -> "KnownEpisodes":
        """In its place in a cache folder."""
        return cls(cache / "episodes")

    def facts(self, path: Path) -> EpisodeFacts:
        """Of an episode file. Raises EpisodeError for one that nobody could train on, or that changes meanwhile."""
        return self._look(path)[0]

    def motion(self, path: Path, facts: EpisodeFacts, steps: int) -> "Motion":
        """Of its first `steps`, the facts being those of `path`."""
        return Motion(self, path, facts, steps)

    def keep(self, sha256: str, facts: EpisodeFacts) -> None:
        """What is known of a file with this hash, from whoever read all of it."""
        self._write("facts", sha256, facts)

    def note(self, path: Path, sha256: str) -> None:
        """The hash of a file that nobody writes to any more, from whoever has just written or compared it."""
        self._note(os.path.abspath(path), Stamp.of(path), sha256)

    def _look(self, path: Path) -> tuple[EpisodeFacts, str | None, Stamp]:
        """The facts, and the hash and the stamp of the file that they are of."""
        stamp = Stamp.of(path)
        if self._folder is None:
            return self._read_file(path, stamp), None, stamp
        name = os.path.abspath(path)
        noted = self._read("files", _name(name), _Noted)
        if noted is not None and (noted.path, noted.stamp) == (name, stamp):
            sha256 = noted.sha256
        else:
            noted, sha256 = None, _hash(path)
        facts = self._read("facts", sha256, EpisodeFacts)
        if facts is None:
            facts = self._read_file(path, stamp)
            self.keep(sha256, facts)
        if noted is None:
            _unchanged(path, stamp)
            if time.time_ns() - max(stamp.modified, stamp.changed) > _SETTLED_SECONDS * 1e9:
                self._note(name, stamp, sha256)
        return facts, sha256, stamp

    def sums(self, path: Path, name: str, facts: EpisodeFacts, make: Callable[[], Sums]) -> Sums:
        """What `make` sums up of the file's motion, kept by its content and `name`. facts: those of the file.

        Raises EpisodeError where it holds another episode by now.
        """
        now, sha256, stamp = self._look(path)
        if now != facts:
            raise _changed(path)
        key = None if sha256 is None else _name(f"{sha256}|{name}")
        found = None if key is None else self._read("sums", key, Sums)
        if found is None:
            found = make()
            _unchanged(path, stamp)
            if key is not None:
                self._write("sums", key, found)
        return found

    @staticmethod
    def _read_file(path: Path, stamp: Stamp) -> EpisodeFacts:
        with open_episode(path) as episode:
            facts = read_facts(episode)
        _unchanged(path, stamp)
        return facts

    def _note(self, path: str, stamp: Stamp, sha256: str) -> None:
        self._write("files", _name(path), _Noted(path=path, stamp=stamp, sha256=sha256))

    def _place(self, kind: str, name: str) -> Path:
        assert self._folder is not None
        return self._folder / kind / name[:2] / f"{name}.json"

    def _read(self, kind: str, name: str, spec: type[_SpecT]) -> _SpecT | None:
        """None where there is no such entry, or a damaged one."""
        place = self._place(kind, name)
        try:
            digest, _, value = place.read_bytes().partition(b"\n")
        except OSError:
            return None
        with suppress(OSError):  # of a folder that one may only read
            if time.time() - place.stat().st_mtime > _DAY_SECONDS:
                os.utime(place)
        if digest.decode(errors="replace") != hashlib.sha256(value).hexdigest():
            return None
        try:
            return spec.model_validate_json(value)
        except ValidationError:
            return None

    def _write(self, kind: str, name: str, entry: Spec) -> None:
        """Not flushed to disk: what a power cut leaves of it is noticed by its hash. Where nothing can be written the
        program goes on, and says so once: it reads the files again another time."""
        if self._folder is None:
            return
        self._sweep()
        value = entry.model_dump_json().encode()
        place = self._place(kind, name)
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(hashlib.sha256(value).hexdigest().encode() + b"\n" + value)
            os.replace(temporary, place)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._told:
                self._told = True
                _log.warning("%s: what is known of episodes cannot be kept (%s)", self._folder, error.strerror)

    def _sweep(self) -> None:
        """Remove what nobody has used for long, also of formats of before, and what killed writers left; nothing that
        is not ours, wherever somebody has put the cache. Once a day, by whoever writes first."""
        assert self._folder is not None
        if self._swept:
            return
        self._swept = True
        marker = self._folder / "swept.json"
        with suppress(OSError):
            if marker.exists() and time.time() - marker.stat().st_mtime < _DAY_SECONDS:
                return
            marker.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            marker.touch()
        ours = itertools.chain.from_iterable(
            folder.rglob(names)
            for folder in self._folder.parent.glob("format-*")
            for names in ("*.json", ".*.json.*.tmp")
        )
        for path in ours:
            with suppress(OSError):  # another one sweeps, too
                if path.is_file() and time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    path.unlink()


class Motion(Sequence[_Array]):
    """action (T, A) and qpos (T, S) of an episode's first steps: a pair that is read when somebody looks at it."""

    def __init__(self, known: KnownEpisodes, path: Path, facts: EpisodeFacts, steps: int) -> None:
        self.sim = facts.sim
        self._known, self._path, self._facts, self._steps = known, path, facts, steps

    def sums(self) -> MotionSums:
        """Without reading the file where all of its steps count, or it was asked before."""
        if self._steps == self._facts.steps:
            return self._facts.motion
        return MotionSums(
            action=self.kept("action", lambda action, qpos: Sums.of(action)),
            qpos=self.kept("qpos", lambda action, qpos: Sums.of(qpos)),
        )

    def kept(self, name: str, make: Callable[[_Array, _Array], Sums]) -> Sums:
        """Sums of something made of action and qpos alone, which `name` names in full; computed once."""
        return self._known.sums(self._path, f"{name}|{self._steps}", self._facts, lambda: make(*self._read()))

    def _read(self) -> tuple[_Array, _Array]:
        with open_episode(self._path) as episode:
            return episode.action[: self._steps], episode.qpos[: self._steps]

    @cached_property
    def _pair(self) -> tuple[_Array, _Array]:
        return self._read()

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, index: int) -> _Array: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_Array, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._pair[index]

    def __iter__(self) -> Iterator[_Array]:
        return iter(self._pair)


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be read: {error.strerror}") from error


def _unchanged(path: Path, stamp: Stamp) -> None:
    if Stamp.of(path) != stamp:
        raise _changed(path)


def _changed(path: Path) -> EpisodeError:
    return EpisodeError(f"{path}: it was changed while it was read; try again once nobody writes to it")


def _name(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
