"""Folders of another format that are there as a whole: read by an import, or their HDF5 files taken in."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from backend.core.db import database_now
from backend.core.errors import ConflictError, InvalidError
from backend.core.removal import remove_after_commit
from backend.identity.actor import Actor
from backend.imports import service as imports
from backend.imports.schemas import ImportPreviewOut
from backend.jobs.schemas import JobOut
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.upload import Upload, UploadKind, UploadState
from backend.uploads import repository, service
from backend.uploads.paths import LAID_OUT, lay_out
from backend.uploads.schemas import UploadDetail, UploadImportIn, UploadPreviewIn
from dexvla.spec import ImportProfile


def take_episodes(me: Actor, studio: Studio, upload_id: str) -> UploadDetail:
    """Of a folder: its HDF5 files as episodes, and nothing else of it. Raises ConflictError where it is not whole."""
    with studio.db.transaction(write=False) as db:
        _whole_folder(db, me, upload_id)
    folder = studio.settings.folder.staged(upload_id)
    laid_out = list(folder.glob(f"{LAID_OUT}*"))
    with studio.db.transaction() as db:
        upload = _whole_folder(db, me, upload_id, lock=True)
        service.refuse_read(db, studio, upload)
        if not repository.receive_episodes(db, upload.id):
            raise InvalidError("None of its files is an HDF5 file (.hdf5, .h5, .he5).")
        upload.kind = UploadKind.EPISODES
        others = [folder / id for id in repository.remove_others(db, upload.id)]
        publish_after_commit(db, studio, "dataset", upload.dataset_id)
        remove_after_commit(db, "The rest of the folder", [*laid_out, *others])
    with studio.db.transaction(write=False) as db:
        return service.detail(db, me, studio, upload)


@dataclass(frozen=True, kw_only=True)
class SourceFolder:
    """A whole folder as it was sent, under its own names, for an import to read from. name: what its sender called it.
    It goes with the upload, which has to stay until the import is over."""

    path: Path
    name: str
    upload: Upload


@contextmanager
def source_folder(me: Actor, studio: Studio, upload_id: str) -> Iterator[tuple[Session, SourceFolder]]:
    """A transaction in which the folder is whole. It is laid out before, by the first who asks: of thousands of files
    that takes longer than other writers may be kept waiting.

    Raises NotFoundError, ForbiddenError, ConflictError where files are missing or are taken in as episodes, OSError.
    """
    with studio.db.transaction(write=False) as db:
        _whole_folder(db, me, upload_id)
        paths = repository.paths_of(db, upload_id)
    beside = studio.settings.folder.staged(upload_id)
    try:
        folder = lay_out(beside, [(path, beside / id) for id, path in paths])
    except FileNotFoundError:
        with studio.db.transaction(write=False) as db:
            _whole_folder(db, me, upload_id, files=len(paths))  # else somebody cancelled it meanwhile
        raise
    with studio.db.transaction() as db:
        upload = _whole_folder(db, me, upload_id, files=len(paths), lock=True)
        upload.touched_at = database_now(db)
        yield db, SourceFolder(path=folder, name=_folder_name(path for _, path in paths), upload=upload)


def preview_import(me: Actor, studio: Studio, upload_id: str, body: UploadPreviewIn) -> ImportPreviewOut:
    """One episode of an uploaded folder. Raises as `source_folder`, and as imports do."""
    with source_folder(me, studio, upload_id) as (_, source):
        profile = _with_instruction(source.upload, body.profile)
    return imports.preview_of(source.path, profile, body.episode, name=source.name)


def start_import(me: Actor, studio: Studio, upload_id: str, body: UploadImportIn) -> JobOut:
    """Of an uploaded folder, whose upload stays until somebody removes it or its days are over."""
    with source_folder(me, studio, upload_id) as (db, source):
        profile = _with_instruction(source.upload, body.profile)
        return imports.start_import(db, studio, me, source.upload.dataset_id, source.path, profile, name=source.name)


def _folder_name(paths: Iterable[str]) -> str:
    """What its sender called the folder, or `upload` where the files came without one."""
    tops = {path.partition("/")[0] if "/" in path else "" for path in paths}
    return tops.pop() if len(tops) == 1 and "" not in tops else "upload"


def _with_instruction(upload: Upload, profile: ImportProfile) -> ImportProfile:
    """What was typed before the upload counts unless the profile says something else."""
    text = profile.instruction or upload.instruction or None
    return profile.model_copy(update={"instruction": text})


def _whole_folder(db: Session, me: Actor, upload_id: str, *, files: int | None = None, lock: bool = False) -> Upload:
    """files: how many it had a moment ago. lock: nobody else changes it.

    Raises NotFoundError, ForbiddenError, ConflictError.
    """
    upload = service.found(db, upload_id, lock=lock)
    service.refuse_stranger(me, upload)
    if upload.kind is not UploadKind.FOLDER:
        raise ConflictError("These are HDF5 files, which are taken in as episodes one by one.")
    states = repository.sums(db, [upload.id])[upload.id].states
    there, count = states.get(UploadState.STAGED, 0), sum(states.values())
    if there < count:
        raise ConflictError(
            f"{count - there} of the {count} files are not there yet, or were refused; send them first, or cancel them."
        )
    if files not in {None, count}:
        raise ConflictError("Files of this folder were cancelled meanwhile; look at it again.")
    return upload
