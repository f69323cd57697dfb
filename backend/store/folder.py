"""The store of a studio on one disk, or on one that all of its machines share: the data folder itself."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from backend.store.base import Listed, Stored
from dexvla.files import atomic_file, fsync_path

_BLOCK = 1 << 20


class FolderStore:
    """Keys are paths below `root`. Nothing is copied: a path is that of the file itself."""

    remote = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = "the data folder"

    def place(self, key: str) -> Path:
        return self._root / key

    def put(self, source: Path, file: Stored) -> None:
        final = self._root / file.key
        final.parent.mkdir(parents=True, exist_ok=True)
        fsync_path(source)
        try:
            os.replace(source, final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with atomic_file(final) as temporary:  # a folder of the studio's that is mounted from another disk
                shutil.copyfile(source, temporary)
            source.unlink()
            return
        fsync_path(final.parent)

    def share(self, source: Path, file: Stored) -> None:
        assert source == self._root / file.key, f"{source} is not the place of {file.key}"

    def path(self, file: Stored) -> Path:
        path = self._root / file.key
        if not path.is_file():
            raise FileNotFoundError(path)
        return path

    def folder(self, name: str, files: Iterable[Stored]) -> Path:
        first = next(iter(files))
        return (self._root / first.key).parent

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        with (self._root / key).open("rb") as file:
            file.seek(start)
            left = end - start
            while left:
                block = file.read(min(left, _BLOCK))
                if not block:
                    raise OSError(f"{key}: shorter than {end} bytes")
                left -= len(block)
                yield block

    def size(self, key: str) -> int | None:
        try:
            return (self._root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, prefix: str) -> Iterator[Listed]:
        for folder, _, names in os.walk(self._root / prefix):
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(".") or path.is_symlink():
                    continue  # half-written, or none of ours
                with suppress(FileNotFoundError):
                    found = path.stat()
                    yield Listed(
                        key=path.relative_to(self._root).as_posix(),
                        size=found.st_size,
                        changed_at=datetime.fromtimestamp(found.st_mtime, UTC),
                    )

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            (self._root / key).unlink(missing_ok=True)

    def problem(self, *, write: bool = False) -> str | None:
        return None  # the disk has words of its own, see backend.core.space
