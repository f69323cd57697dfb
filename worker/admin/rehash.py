"""Read everything that the studio keeps once more, and compare it with what was written down of it: `studio verify`.

An episode counts by its identity (motion, times, frames and how they are read), a manifest by its hash, a checkpoint's
and a base model's files by their sha256. Reading is held to a rate, so that a studio that works beside it goes on.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.base_models.files import made_here, model_place
from backend.checkpoints.files import checkpoint_place, stored_files
from backend.episodes.files import place, stored
from backend.store.base import Stored
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.tables.base_model import RegisteredModel
from backend.tables.checkpoint import Checkpoint
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from backend.tables.run import Run
from dexvla.episodes.identity import episode_identities
from dexvla.episodes.manifest import load_manifest, manifest_hash
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError

_AT_ONCE = 2**20  # bytes
Pace = Callable[[int], None]


@dataclass(kw_only=True)
class Rehashed:
    """checked, of total: files that were read. changed: those that hold something else, and those that cannot be read;
    missing: those that are not there; in words. whole: it came to its end."""

    total: int
    checked: int = 0
    size: int = 0
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    whole: bool = False

    @property
    def wrong(self) -> bool:
        return bool(self.changed or self.missing)

    def to_json(self) -> dict[str, Any]:
        return {
            "checked": self.checked,
            "total": self.total,
            "bytes": self.size,
            "changed": self.changed,
            "missing": self.missing,
            "interrupted": not self.whole,
        }


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """One file. what: in words. place: where it is, for people. size: its bytes, None if it is not there. look(pace):
    why it is not what it was, or None; raises what reading raises."""

    what: str
    place: str
    size: Callable[[], int | None]
    look: Callable[[Pace], str | None]


def rehash(studio: Studio, *, mib_per_second: float | None, on_file: Callable[[Rehashed, str], Any]) -> Rehashed:
    """Read all of it. on_file: told after each. A KeyboardInterrupt ends it early, with what was found until then.

    What is deleted or trained meanwhile is no fault: a file that is gone counts as missing only if its row still wants
    it afterwards.
    """
    kept = _kept(studio)
    found = Rehashed(total=len(kept))
    pace = _Pace(mib_per_second)
    gone: list[_Kept] = []
    try:
        for one in kept:
            try:
                found.size += one.size() or 0
                if (wrong := one.look(pace)) is not None:
                    found.changed.append(f"{one.what}: {wrong}")
            except FileNotFoundError:
                gone.append(one)
            except (UserError, OSError) as error:
                if one.size() is not None:
                    found.changed.append(f"{one.what}: {' '.join(str(error).split())}")
                else:
                    gone.append(one)
            found.checked += 1
            on_file(found, one.what)
        found.whole = True
    except KeyboardInterrupt:
        pass
    if gone:
        wanted = {one.place for one in _kept(studio)}
        found.missing = [f"{one.what}: {one.place}" for one in gone if one.place in wanted and one.size() is None]
    return found


class _Pace:
    """Called with the bytes that were read: waits as long as they came too fast."""

    def __init__(self, mib_per_second: float | None) -> None:
        self._rate = None if mib_per_second is None else mib_per_second * 2**20
        self._due = time.monotonic()

    def __call__(self, size: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + size / self._rate  # a second that was slow may be made up for
        if self._due > now:
            time.sleep(self._due - now)


def _kept(studio: Studio) -> list[_Kept]:
    with studio.db.transaction(write=False) as db:
        return [*_episodes(db, studio), *_manifests(db, studio), *_checkpoints(db, studio), *_models(db, studio)]


def _episodes(db: Session, studio: Studio) -> Iterator[_Kept]:
    """Those that were set aside too, as long as they are kept."""
    query = select(EpisodeRow, Dataset.name).join(Dataset, Dataset.id == EpisodeRow.dataset_id)
    for row, name in db.execute(query.where(EpisodeRow.freed_at.is_(None)).order_by(Dataset.name, EpisodeRow.number)):
        what = f"episode {row.number} of {name}{'' if row.deleted_at is None else ', set aside'}"
        if studio.store.remote:
            yield _in_store(studio, what, stored(row))
            continue
        path = place(studio.settings.folder, row)

        def look(pace: Pace, path: Path = path, identity: str = row.identity) -> str | None:
            with open_episode(path) as episode:
                found = episode_identities(episode, on_row=lambda camera, step, data: pace(len(data)))
                if not episode.compressed:
                    pace(path.stat().st_size)
            if found.is_called(identity):
                return None
            return f"it holds another motion or other images than when it was taken in ({path})"

        yield _here(what, path, look)


def _manifests(db: Session, studio: Studio) -> Iterator[_Kept]:
    query = select(DatasetVersion, Dataset.name).join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    for row, name in db.execute(query):
        path = studio.settings.folder.manifest(row.id)
        key = key_of(studio.settings.data, path)
        what = f"manifest of version {row.number} of {name}"

        def look(pace: Pace, path: Path = path, key: str = key, sha256: str = row.manifest_sha256) -> str | None:
            with TemporaryDirectory() as folder:
                if studio.store.remote:
                    path = Path(folder) / path.name
                    path.write_bytes(b"".join(studio.store.read(key, 0, studio.store.size(key) or 0)))
                pace(path.stat().st_size)
                return (
                    None if manifest_hash(load_manifest(path)) == sha256 else f"it is another one than was made ({key})"
                )

        if studio.store.remote:
            yield _Kept(what=what, place=key, size=partial(studio.store.size, key), look=look)
        else:
            yield _here(what, path, look)


def _checkpoints(db: Session, studio: Studio) -> Iterator[_Kept]:
    query = (
        select(Checkpoint, Run.name)
        .join(Run, Run.id == Checkpoint.run_id)
        .where(Checkpoint.deleted_at.is_(None), Run.deleted_at.is_(None))
    )
    for row, name in db.execute(query.order_by(Run.name, Checkpoint.step)):
        folder = checkpoint_place(studio.settings.folder, row)
        for file, kept in stored_files(studio, row).items():
            what = f"{file} of the checkpoint of {name} at step {row.step}"
            if studio.store.remote:
                yield _in_store(studio, what, kept)
            else:
                yield _here(what, folder / file, _sum(folder / file, str(kept.sha256)))


def _models(db: Session, studio: Studio) -> Iterator[_Kept]:
    """Those on this machine: what another one made it fetches, and compares, before it is used."""
    for row in db.scalars(select(RegisteredModel).order_by(RegisteredModel.name)):
        folder = model_place(studio.settings.folder, row)
        if studio.store.remote and made_here(row) and not folder.is_dir():
            continue
        for name, facts in (row.files or {}).items():
            yield _here(f"{name} of the model {row.name}", folder / name, _sum(folder / name, facts["sha256"]))


def _here(what: str, path: Path, look: Callable[[Pace], str | None]) -> _Kept:
    def size() -> int | None:
        return path.stat().st_size if path.exists() else None

    return _Kept(what=what, place=str(path), size=size, look=look)


def _in_store(studio: Studio, what: str, file: Stored) -> _Kept:
    """As the store has it, not as this machine's cache does."""

    def look(pace: Pace) -> str | None:
        digest = hashlib.sha256()
        for block in studio.store.read(file.key, 0, file.size):
            digest.update(block)
            pace(len(block))
        return None if digest.hexdigest() == file.sha256 else f"it is not what was put there ({file.key})"

    return _Kept(what=what, place=file.key, size=partial(studio.store.size, file.key), look=look)


def _sum(path: Path, sha256: str) -> Callable[[Pace], str | None]:
    def look(pace: Pace) -> str | None:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(_AT_ONCE):
                digest.update(part)
                pace(len(part))
        return None if digest.hexdigest() == sha256 else f"it is not what was saved ({path})"

    return look
