"""Small files that a row's folder has, at their place on every machine: manifests, logs, reports, videos.

Where all machines share a data folder they are there already; otherwise who makes one publishes it, and who wants to
read it obtains it. There is no cache between: they stay where they are.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from backend.store.base import Store, Stored
from dexvla.checksums import file_sha256
from dexvla.files import atomic_directory, atomic_file


def key_of(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def publish(store: Store, root: Path, path: Path) -> None:
    """A file, or all files of a folder, below the data folder `root`; what is half-written is left out."""
    if not store.remote:
        return
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    for file in files:
        if not file.name.startswith(".") and not file.is_symlink():
            stored = Stored(key=key_of(root, file), sha256=file_sha256(file), size=file.stat().st_size)
            store.share(file, stored)


def obtain(store: Store, root: Path, path: Path, *, check: Callable[[Path], None] = lambda file: None) -> Path:
    """`path`, fetched to its place if another machine made it; it may not be there at all.

    check: raises for a file that is not what it should be; it is not kept then.
    """
    if not store.remote or path.exists():
        return path
    key = key_of(root, path)
    size = store.size(key)
    if size is None:
        return path
    with suppress(FileNotFoundError), atomic_file(path) as temporary:
        with temporary.open("xb") as file:
            for block in store.read(key, 0, size):
                file.write(block)
        check(temporary)
    return path


def obtain_folder(
    store: Store, root: Path, folder: Path, *, check: Callable[[Path], None] = lambda folder: None
) -> Path:
    """A folder that another machine made, whole or not there; as `obtain`."""
    if not store.remote or folder.exists():
        return folder
    key = key_of(root, folder)
    there = list(store.list(key))
    if there:
        with suppress(FileExistsError), atomic_directory(folder) as temporary:  # somebody else may be quicker
            for one in there:
                target = temporary / PurePosixPath(one.key).relative_to(key)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    for block in store.read(one.key, 0, one.size):
                        file.write(block)
            check(temporary)
    return folder
