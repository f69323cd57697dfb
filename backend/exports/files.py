"""An export's files as the archive that is sent, and the places that an export may go to instead."""

from datetime import datetime
from pathlib import Path, PurePosixPath

from backend.core.archive import tar_parts
from backend.core.downloads import Part
from backend.core.settings import Settings
from backend.exports.schemas import DestinationKind, DestinationOut
from backend.store.base import Stored
from backend.store.parts import stored_part
from backend.store.small import key_of
from backend.studio.context import Studio
from backend.tables.export import Export


def archive_parts(folder: Path, name: str, *, made: datetime) -> tuple[Part, ...]:
    """All files below `folder` under the name of the export; the same files and time always give the same bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    listed = [(path.relative_to(folder).as_posix(), Part(size=path.stat().st_size, file=path)) for path in files]
    return tar_parts(name, listed, mtime=int(made.timestamp()))


def parts_of(studio: Studio, row: Export) -> tuple[Part, ...]:
    """As `archive_parts`, wherever its files are."""
    folder = studio.settings.folder.export(row.id)
    if not studio.store.remote or folder.is_dir():
        return archive_parts(folder, row.name, made=row.created_at)
    key = key_of(studio.settings.data, folder)
    there = {PurePosixPath(one.key).relative_to(key): one for one in studio.store.list(key)}
    listed = [
        (name.as_posix(), stored_part(studio.store, Stored(key=one.key, sha256=None, size=one.size)))
        for name, one in sorted(there.items())
    ]
    return tar_parts(row.name, listed, mtime=int(row.created_at.timestamp()))


def files_of(parts: tuple[Part, ...]) -> tuple[int, int]:
    """How many files an archive holds, and their bytes together."""
    sizes = [part.size for part in parts if part.is_file]
    return len(sizes), sum(sizes)


def destinations(settings: Settings) -> list[DestinationOut]:
    """Where exports may go: the archive, and what the machine's administrator configured, by name."""
    return [
        DestinationOut(kind=DestinationKind.ARCHIVE, name=None),
        *(DestinationOut(kind=DestinationKind.FOLDER, name=root.name) for root in settings.export_roots),
        *(DestinationOut(kind=DestinationKind.S3, name=name) for name in sorted(settings.export_targets)),
    ]
