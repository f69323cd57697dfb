"""An export's folder as the archive that is sent."""

from datetime import datetime
from pathlib import Path

from backend.core.archive import tar_parts
from backend.core.downloads import Part


def archive_parts(folder: Path, name: str, *, made: datetime) -> tuple[Part, ...]:
    """All files below `folder` under the name of the export; the same files and time always give the same bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    listed = [(path.relative_to(folder).as_posix(), path, path.stat().st_size) for path in files]
    return tar_parts(name, listed, mtime=int(made.timestamp()))


def files_of(parts: tuple[Part, ...]) -> tuple[int, int]:
    """How many files an archive holds, and their bytes together."""
    sizes = [part.size for part in parts if part.file is not None]
    return len(sizes), sum(sizes)
