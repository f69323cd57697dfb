"""Names of files as their sender has them: looked at before anything is received, and never paths of ours.

They become paths only where a folder is laid out for an import (`lay_out`), below one folder of the upload's own.
"""

import fcntl
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from backend.store.hold import hold
from dexvla.files import fsync_path

LAID_OUT = "as_sent-"  # begins the names of folders that `lay_out` makes
MAX_PATH = 1000  # characters
MAX_DEPTH = 12  # folders above the file
_NAME_BYTES = 255  # file systems count bytes
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


def wrong_with_path(path: str) -> str | None:
    """Why a relative path such as `run 1/videos/top.mp4` cannot be taken. None: it can."""
    if not path:
        return "it is empty"
    if len(path) > MAX_PATH:
        return f"it has {len(path)} characters, at most {MAX_PATH} are taken"
    if path.startswith("/") or path[1:2] == ":":
        return "it is absolute; send it relative to the folder that is uploaded"
    if "\\" in path:
        return "it holds a backslash; folders are separated by /"
    if any(not letter.isprintable() for letter in path):
        return "it holds characters that cannot be shown"
    parts = path.split("/")
    if len(parts) > MAX_DEPTH + 1:
        return f"it lies {len(parts) - 1} folders deep, at most {MAX_DEPTH} are taken"
    return next((wrong for part in parts if (wrong := _wrong_with_name(part))), None)


def _wrong_with_name(name: str) -> str | None:
    if name in {"", ".", ".."}:
        return f"it holds the part {name!r}, which names no file and no folder"
    if len(name.encode(errors="replace")) > _NAME_BYTES:
        return f"{name[:40]!r}... is longer than the {_NAME_BYTES} bytes that file systems take"
    if name.strip() != name or name.endswith("."):
        return f"{name!r} begins or ends with a space, or ends with a dot"
    if name.partition(".")[0].upper() in _DEVICES:
        return f"{name!r} is the name of a device on some systems; give it another"
    return None


def wrong_together(paths: Iterable[str]) -> dict[str, str]:
    """By path: why it cannot stand beside the others, also on a disk that ignores case and composition."""
    files: set[str] = set()
    folders: set[str] = set()
    wrong = {}
    for path in paths:
        key = _key(path)
        above = {_key(str(parent)) for parent in PurePosixPath(path).parents} - {_key(".")}
        if key in files:
            wrong[path] = "it is listed twice, or differs from another one only in the case of its letters"
        elif key in folders or above & files:
            wrong[path] = "another one is a file where this one needs a folder"
        files.add(key)
        folders |= above
    return wrong


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def lay_out(beside: Path, files: Sequence[tuple[str, Path]]) -> Path:
    """A folder in `beside` with each file (path as it was sent, where its bytes lie, on the disk already) at its place,
    as links to the same bytes: the same one for the same files, since an import may read from it for long.

    Whole or not at all, and what a kill left is gone on with. Raises ValueError for a path that no announcement lets
    through, FileNotFoundError where `beside` or a file is gone, OSError.
    """
    for path, _ in files:
        if wrong := wrong_with_path(path):
            raise ValueError(f"{path!r}: {wrong}")
    named = hashlib.sha256("\0".join(f"{path}\0{source.name}" for path, source in sorted(files)).encode())
    folder = beside / f"{LAID_OUT}{named.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # goes with its process
        if not folder.is_dir():  # else another request was quicker
            _link_all(part, files)
            os.rename(part, folder)
            fsync_path(beside)
    finally:
        os.close(descriptor)
    return folder


def _link_all(folder: Path, files: Sequence[tuple[str, Path]]) -> None:
    for path, source in files:
        target = hold(source, folder.joinpath(*path.split("/")))
        if not os.path.samefile(source, target):  # a copy: this disk has no links
            fsync_path(target)
    for within, _, _ in os.walk(folder):
        fsync_path(Path(within))
