"""A folder of files as a tar archive that exists only while it is sent.

It is uncompressed (GNU format). Every byte of it follows from the folder's name, the files and one time, so that any
range can be made at any moment and its sha256 never changes.
"""

import hashlib
import tarfile

from backend.core.downloads import Content, Part


def tar_parts(folder: str, files: list[tuple[str, Part]], *, mtime: int) -> tuple[Part, ...]:
    """A tar archive of `folder` with files by name, all with the same time (seconds since 1970)."""

    def header(name: str, *, size: int = 0, directory: bool = False) -> Part:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
        entry.mode = 0o755 if directory else 0o644
        entry.size, entry.mtime = size, mtime
        data = entry.tobuf(tarfile.GNU_FORMAT)
        return Part(size=len(data), data=data)

    parts = [header(folder, directory=True)]
    for name, part in files:
        padding = -part.size % tarfile.BLOCKSIZE
        parts += [header(f"{folder}/{name}", size=part.size), part]
        parts.append(Part(size=padding, data=bytes(padding)))
    written = sum(part.size for part in parts) + 2 * tarfile.BLOCKSIZE
    end = 2 * tarfile.BLOCKSIZE + -written % tarfile.RECORDSIZE
    return (*parts, Part(size=end, data=bytes(end)))


def sha256_of(parts: tuple[Part, ...]) -> str:
    """Of the whole download; reads every byte of it."""
    digest = hashlib.sha256()
    size = sum(part.size for part in parts)
    for block in Content(name="", parts=parts, tag="", media_type="").read(0, size):
        digest.update(block)
    return digest.hexdigest()
