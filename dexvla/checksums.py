"""Whether a model's files are those that were saved: sha256 of each against what was written down. Torch-free.

A checkpoint carries its sums in its manifest, a trainer's state in its own; of a base model the studio keeps them. A
file is read once a process: what it was stays known for as long as the file system says that it is the same one.
`python -m dexvla.checksums DIRECTORY` writes a manifest for a checkpoint that has none.
"""

import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dexvla.errors import CheckpointError
from dexvla.files import write_json

MANIFEST = "manifest.json"
# What a loader may take from a folder.
_READ = {".json", ".safetensors", ".bin", ".txt", ".jinja", ".model", ".pt", ".pth", ".ckpt"}
_COPY_AGAIN = "Restore the checkpoint from a backup, copy it again, or use another one"
_SETTLED_NS = 100_000_000  # file systems' clocks tick in milliseconds: what changed just now may change unseen
_KEPT = 4096  # hashes, 100 bytes each
_THREADS = 4  # hashing runs outside the interpreter's lock
_MAX_MANIFEST = 2**28
_known: OrderedDict[tuple[int, ...], str] = OrderedDict()
_lock = threading.Lock()
_log = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """Of the file as it is (hex); from memory if the same file was hashed before. Raises OSError."""
    with path.open("rb") as file:
        identity = _identity(file.fileno())
        with _lock:
            if identity in _known:
                _known.move_to_end(identity)
                return _known[identity]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        settled = time.time_ns() - os.fstat(file.fileno()).st_ctime_ns > _SETTLED_NS
        if settled and _identity(file.fileno()) == identity:  # nobody wrote to it meanwhile
            with _lock:
                _known[identity] = digest
                while len(_known) > _KEPT:
                    _known.popitem(last=False)
    return digest


def sums_of(path: Path) -> dict[str, dict[str, Any]]:
    """{"sha256": hex, "bytes": int} by name of a file, or of every file of a folder that a loader may read."""
    files = [path] if path.is_file() else _readable(path)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(file_sha256, files)
        return {
            file.name: {"sha256": digest, "bytes": file.stat().st_size}
            for file, digest in zip(files, found, strict=True)
        }


def check_sums(path: Path, files: Mapping[str, Any], *, source: str, remedy: str) -> None:
    """Compare a file, or a folder's files, with their sums as `sums_of` gives them.

    source: where they stand, in words; remedy: what to do, a sentence. Raises CheckpointError with what was found and
    what was expected for a file that is missing, of another size or content, or that a loader would read and that was
    not there.
    """
    places = {name: path if path.is_file() else path / name for name in files}
    _check_sizes(places, files, source)
    if path.is_dir():
        for file in _readable(path):
            if file.name not in files and file.name != MANIFEST:
                raise CheckpointError(f"{file}: not listed in {source}, so it was added later; remove it")
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, digest in zip(files, pool.map(file_sha256, places.values()), strict=True):
            check_digest(places[name], digest, files[name]["sha256"], source=source, remedy=remedy)


def check_files(directory: Path, *, verify: bool = True) -> None:
    """Compare a checkpoint's files with its manifest. verify False compares sizes alone, and only logs a missing one.

    Raises CheckpointError as `check_sums` does, and for a checkpoint without a manifest.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        missing = f"{manifest} is missing: nothing says whether the checkpoint's other files are whole"
        if verify:
            raise CheckpointError(
                f"{missing}. Copy the checkpoint again with it; if you know where these files come from and want them "
                f"as they are, write one: python -m dexvla.checksums {directory}"
            )
        _log.warning(missing)
        return
    files = _listed(manifest)
    if verify:
        check_sums(directory, files, source="the manifest", remedy=_COPY_AGAIN)
    else:
        _check_sizes({name: directory / name for name in files}, files, "the manifest")


def check_digest(
    file: Path, found: str, expected: str, *, source: str = "the manifest", remedy: str = _COPY_AGAIN
) -> None:
    """Raises CheckpointError unless they are the same."""
    if found != expected:
        raise CheckpointError(
            f"{file}: sha256 is {found[:16]}..., {source} says {str(expected)[:16]}...: the file was changed or "
            f"damaged after it was saved. {remedy}"
        )


def seal(directory: Path) -> None:
    """Write a manifest for a checkpoint that has none: from now on a change is noticed."""
    manifest = directory / MANIFEST
    if manifest.exists():
        raise CheckpointError(f"{manifest} is there already; a manifest is never written over another")
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"{directory}: has no config.json, so it is no checkpoint")
    write_json(manifest, {"files": sums_of(directory)})


def _readable(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.suffix in _READ and path.is_file()]


def _check_sizes(places: Mapping[str, Path], files: Mapping[str, Any], source: str) -> None:
    for name, file in places.items():
        if not file.is_file():
            raise CheckpointError(f"{file}: missing; {source} lists it")
        if (size := file.stat().st_size) != files[name]["bytes"]:
            raise CheckpointError(f"{file}: {size} bytes, {source} says {files[name]['bytes']}: truncated or changed")


def _listed(manifest: Path) -> Mapping[str, Any]:
    try:
        if manifest.stat().st_size > _MAX_MANIFEST:
            raise CheckpointError(f"{manifest}: larger than {_MAX_MANIFEST} bytes; not a checkpoint's manifest")
        value = json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{manifest}: not readable: {' '.join(str(error).split())[:200]}") from error
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, dict):
        raise CheckpointError(f"{manifest}: files is {str(files)[:80]}, expected names with sha256 and bytes")
    for name, entry in files.items():
        if not isinstance(entry, dict) or not {"sha256", "bytes"} <= set(entry) or os.sep in name or name in ("", ".."):
            raise CheckpointError(f"{manifest}: files has {name!r} as {str(entry)[:80]}, expected sha256 and bytes")
    return files


def _identity(descriptor: int) -> tuple[int, ...]:
    """Changes with whatever is written to the file, in this or another process."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dexvla.checksums DIRECTORY")
    try:
        seal(Path(sys.argv[1]))
    except (CheckpointError, OSError) as error:
        sys.exit(str(error))
