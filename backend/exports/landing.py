"""Exports that go to a folder or a place in S3 that the machine's administrator configured: whole, or not there."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from backend.core.settings import Settings
from backend.exports.schemas import DestinationKind, DestinationOut
from backend.store.base import StoreAwayError, Stored
from backend.store.cache import Cache
from backend.store.s3 import S3Store
from backend.studio.context import Studio
from backend.tables.export import Export
from dexvla.checksums import file_sha256
from dexvla.errors import UserError
from dexvla.files import fsync_path, write_json

CONTENTS = "export.json"  # comes last: with it an export in S3 is whole


def land(studio: Studio, row: Export, where: DestinationOut, made: Path) -> str:
    """Bring the files of `made` there; returns the name of the folder that they become.

    The name holds the export's id, so that a second try finds what the first one did, and no other folder is touched.
    Raises UserError for a place that is not configured any more or cannot be written, StoreAwayError.
    """
    name = f"{row.name}-{row.id[:8]}"
    if where.kind is DestinationKind.FOLDER:
        _into_folder(_root(studio.settings, where), made, name)
    else:
        _into_s3(studio, where, made, name)
    return name


def _root(settings: Settings, where: DestinationOut) -> Path:
    found = next((root for root in settings.export_roots if root.name == where.name), None)
    if found is None:
        raise UserError(
            f"the folder {where.name!r} is not among this worker's STUDIO_EXPORT_ROOTS; configure it there, or export "
            "to another place"
        )
    if not found.is_dir():
        raise UserError(f"the folder {where.name!r} for exports is not there (any more); mount it, then export again")
    return found


def _into_folder(root: Path, made: Path, name: str) -> None:
    target, beside = root / name, root / f".{name}.tmp"
    if target.exists():  # an attempt before this one died after it
        return
    try:
        shutil.rmtree(beside, ignore_errors=True)
        try:
            shutil.copytree(made, beside, copy_function=shutil.copyfile)
            mode = root.stat().st_mode  # whoever may read the folder may read what comes into it
            for path in (*beside.rglob("*"), beside):
                path.chmod(mode & (0o777 if path.is_dir() else 0o666))
                fsync_path(path)
            os.rename(beside, target)
            fsync_path(root)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"the folder {root.name!r} for exports cannot be written ({error.strerror or 'some files failed'}); "
            "nothing of it was kept there. Make room or give the studio's account the right to write, then export again"
        ) from error


def _into_s3(studio: Studio, where: DestinationOut, made: Path, name: str) -> None:
    place = studio.settings.export_targets.get(where.name or "")
    if place is None:
        raise UserError(
            f"the place {where.name!r} is not among this worker's STUDIO_EXPORT_TARGETS; configure it there, or export "
            "to another place"
        )
    cache = Cache(studio.settings.folder.store_cache, limit=1)  # nothing is read
    store = S3Store(place, cache, settings=f"the key of {where.name} in STUDIO_EXPORT_TARGETS")
    if store.size(f"{name}/{CONTENTS}") is not None:
        return
    files = sorted(path for path in made.rglob("*") if path.is_file() and not path.is_symlink())
    listed = {path.relative_to(made).as_posix(): path for path in files}
    sent = [f"{name}/{CONTENTS}"]  # first: what says that the rest is whole goes before it
    try:
        for key, path in listed.items():
            sent.append(f"{name}/{key}")
            store.share(path, Stored(key=sent[-1], sha256=None, size=path.stat().st_size))
        sums = {key: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for key, path in listed.items()}
        write_json(made / CONTENTS, {"name": name, "files": sums})
        contents = Stored(key=f"{name}/{CONTENTS}", sha256=None, size=(made / CONTENTS).stat().st_size)
        store.share(made / CONTENTS, contents)
    except BaseException:
        with suppress(StoreAwayError):  # without its contents it is no export, and the next try writes the same keys
            store.delete(sent[:1])
            store.delete(sent[1:])
        raise
