"""Whether a checkpoint's files are those that were saved: sha256 of each against its manifest. Torch-free.

A file is read once a process: what it was stays known for as long as the file system says that it is the same one.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dexvla.errors import CheckpointError

MANIFEST = "manifest.json"
_READ = {".json", ".safetensors", ".bin", ".txt", ".jinja", ".model"}  # what a loader may take from a checkpoint
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


def check_files(directory: Path, *, verify: bool = True) -> None:
    """Compare a checkpoint's files with its manifest; without one this is logged. verify False compares sizes alone.

    Raises CheckpointError with what was found and what was expected for a file that is missing, of another size or
    content, or there without being listed where a loader would read it.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        _log.warning("%s is missing: nothing says whether the checkpoint's other files are whole", manifest)
        return
    files = _listed(manifest)
    for name, entry in files.items():
        file = directory / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing; the manifest lists it")
        if (size := file.stat().st_size) != entry["bytes"]:
            raise CheckpointError(f"{file}: {size} bytes, the manifest says {entry['bytes']}: truncated or changed")
    if not verify:
        return
    for file in sorted(directory.iterdir()):
        if file.name not in files and file.name != MANIFEST and file.suffix in _READ:
            raise CheckpointError(f"{file}: not listed in the manifest, so it was added later; remove it")
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(file_sha256, [directory / name for name in files])
        for (name, entry), digest in zip(files.items(), found, strict=True):
            check_digest(directory / name, digest, entry["sha256"])


def check_digest(file: Path, found: str, expected: str) -> None:
    """Raises CheckpointError unless they are the same."""
    if found != expected:
        raise CheckpointError(
            f"{file}: sha256 is {found[:16]}..., the manifest says {str(expected)[:16]}...: the file was changed or "
            "damaged after it was saved. Restore the checkpoint from a backup, copy it again, or use another one"
        )


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
