"""Uploads: announced, looked up, given up, forgotten. Their bytes come through `receiving`, `taking` lists them, and
`folders` has those that an import reads."""

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import database_now, new_id, utc_now
from backend.core.errors import (
    MAX_FIELD_ERRORS,
    ConflictError,
    DiskFullError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooManyError,
)
from backend.core.limits import one_line, wrong_with
from backend.core.removal import remove_after_commit
from backend.core.roles import Role
from backend.datasets import repository as datasets
from backend.identity.actor import Actor
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.episode import EpisodeRow
from backend.tables.upload import Upload, UploadedFile, UploadKind, UploadState
from backend.uploads import repository
from backend.uploads.paths import wrong_together, wrong_with_path
from backend.uploads.schemas import (
    DigestIn,
    UploadDetail,
    UploadFileIn,
    UploadFileOut,
    UploadIn,
    UploadOut,
)
from dexvla.episodes.finding import is_episode_file

SPARE_BYTES = 64 * 2**20
_UNFINISHED = 100  # uploads of one person of which bytes are missing
_TOUCH = timedelta(hours=1)


def announce(me: Actor, studio: Studio, dataset_id: str, body: UploadIn) -> UploadDetail:
    """List files that are going to be sent; whatever speaks against them is said now. A file that the dataset has is
    already_there at once, one that is too large for an episode refused, and neither is sent.

    Has transactions of its own: of thousands of files only their insertion keeps other writers waiting.
    Raises NotFoundError, InvalidError, DiskFullError, TooManyError.
    """
    upload = Upload(
        id=new_id(),
        dataset_id=dataset_id,
        kind=_kind(body),
        instruction=_instruction(body.instruction),
        created_by=me.id,
        created_by_name=me.name,
    )
    _refuse_paths(body.files)
    with studio.db.transaction(write=False) as db:
        _require_dataset(db, dataset_id)
        there = repository.same_file(db, dataset_id, [one.sha256 for one in body.files if one.sha256 is not None])
    rows = [_row(studio, upload, one, there) for one in body.files]
    large = next((row for row in rows if row.state is UploadState.REFUSED), None)
    if large is not None and upload.kind is UploadKind.FOLDER:
        raise InvalidError(f"{large.path}: {large.message}", fields={"files": f"{large.path}: {large.message}"})
    with studio.db.transaction() as db:
        _require_dataset(db, dataset_id)
        if repository.unfinished(db, me.id) >= _UNFINISHED:
            raise TooManyError(f"{_UNFINISHED} of your uploads are not finished; go on with one of them, or cancel it.")
        _refuse_full(db, studio, [row.size for row in rows if row.state is UploadState.UPLOADING])
        upload.touched_at = database_now(db)
        repository.add(db, upload, rows)
        publish_after_commit(db, studio, "dataset", dataset_id)
    studio.settings.folder.staged(upload.id).mkdir(parents=True, exist_ok=True)  # or by its first piece, after a kill
    with studio.db.transaction(write=False) as db:
        return detail(db, me, studio, upload)


def _require_dataset(db: Session, dataset_id: str) -> None:
    if datasets.by_id(db, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")


def _instruction(text: str) -> str:
    instruction = one_line(text)
    if wrong := wrong_with(instruction):
        raise InvalidError(f"The instruction holds {wrong}.", fields={"instruction": f"it holds {wrong}"})
    return instruction


def _refuse_paths(files: Sequence[UploadFileIn]) -> None:
    wrong = {one.path: found for one in files if (found := wrong_with_path(one.path))}
    wrong = wrong or wrong_together(one.path for one in files)
    if wrong:
        path, why = next(iter(wrong.items()))
        more = f" ({len(wrong) - 1} more are wrong, too)" if len(wrong) > 1 else ""
        fields = dict(list({path[:200] or "files": why for path, why in wrong.items()}.items())[:MAX_FIELD_ERRORS])
        raise InvalidError(f"The file name {path[:100]!r} cannot be taken: {why}{more}. Rename it.", fields=fields)


def _kind(body: UploadIn) -> UploadKind:
    only_episodes = all(is_episode_file(Path(one.path)) for one in body.files)
    return UploadKind.EPISODES if only_episodes and not body.look_first else UploadKind.FOLDER


def _row(studio: Studio, upload: Upload, wanted: UploadFileIn, there: dict[str, EpisodeRow]) -> UploadedFile:
    row = UploadedFile(
        id=new_id(),
        upload_id=upload.id,
        path=wanted.path,
        size=wanted.size,
        is_episode=is_episode_file(Path(wanted.path)),
        sha256=wanted.sha256,
        received=0,
        state=UploadState.UPLOADING,
        errors=[],
        warnings=[],
    )
    most = studio.settings.max_upload_mb
    twin = None if wanted.sha256 is None else there.get(wanted.sha256)
    if wanted.size > most * 2**20:
        row.state = UploadState.REFUSED
        row.message = (
            f"It has {wanted.size / 2**20:.0f} MiB, at most {most} MiB may be uploaded (STUDIO_MAX_UPLOAD_MB); import "
            "it from a folder on the server instead."
        )
    elif upload.kind is UploadKind.EPISODES and wanted.size == 0:
        row.state, row.message = UploadState.REFUSED, "It is empty; an episode is an HDF5 file with something in it."
    elif upload.kind is UploadKind.EPISODES and twin is not None:
        mark_already_there(row, twin)
    elif wanted.size == 0:  # nothing of it is to come
        row.state, row.received_at = UploadState.RECEIVED, utc_now()
    return row


def mark_already_there(row: UploadedFile, twin: EpisodeRow) -> None:
    row.state, row.episode_id, row.received = UploadState.ALREADY_THERE, twin.id, row.size
    row.message = f"The same is in this dataset already, as episode {twin.number}."


def _refuse_full(db: Session, studio: Studio, sizes: Sequence[int]) -> None:
    """What is still to come of all uploads has to fit, and beside it the copy that an episode is taken in as."""
    wanted = sum(sizes)
    needed = wanted + max(sizes, default=0) + SPARE_BYTES + repository.missing_bytes(db)
    free = shutil.disk_usage(studio.settings.folder.staging).free
    if wanted and free < needed:
        raise DiskFullError(
            f"There is no room for {wanted / 2**20:.0f} MiB: {free / 2**20:.0f} MiB are free, and "
            f"{needed / 2**20:.0f} MiB would be needed with what other uploads still send. Nothing was sent; free some "
            "space and try again."
        )


# --- looked up ------------------------------------------------------------------------------------------------------


def uploads(db: Session, me: Actor, studio: Studio, dataset_id: str) -> list[UploadOut]:
    """Newest first."""
    _require_dataset(db, dataset_id)
    return _outs(db, me, studio, repository.of_dataset(db, dataset_id))


def detail(db: Session, me: Actor, studio: Studio, upload: Upload) -> UploadDetail:
    files = repository.files_of(db, [upload.id])
    return UploadDetail(**_outs(db, me, studio, [upload])[0].model_dump(), items=file_outs(db, files))


def found(db: Session, upload_id: str, *, lock: bool = False) -> Upload:
    row = repository.by_id(db, upload_id, lock=lock)
    if row is None:
        raise NotFoundError("There is no such upload; it was cancelled, or its days were over.")
    return row


def found_file(db: Session, file_id: str) -> tuple[Upload, UploadedFile]:
    row = repository.file_by_id(db, file_id)
    if row is None:
        raise NotFoundError("There is no such upload; it was cancelled, or its days were over.")
    return found(db, row.upload_id), row


def refuse_stranger(me: Actor, upload: Upload) -> None:
    """Raises ForbiddenError for whoever neither began the upload nor is an administrator."""
    if not _mine(me, upload):
        raise ForbiddenError(
            f"This is an upload of {upload.created_by_name}; only they and administrators go on with it."
        )


def _mine(me: Actor, upload: Upload) -> bool:
    return upload.created_by == me.id or me.role is Role.ADMIN


def expires_at(studio: Studio, upload: Upload) -> datetime:
    return upload.touched_at + timedelta(days=studio.settings.upload_days)


def _outs(db: Session, me: Actor, studio: Studio, rows: Sequence[Upload]) -> list[UploadOut]:
    sums = repository.sums(db, [row.id for row in rows])
    empty = repository.Sums(states={}, episode_files=0, size_bytes=0, received_bytes=0)
    outs = []
    for row in rows:
        of_it = sums.get(row.id, empty)
        outs.append(
            UploadOut(
                id=row.id,
                dataset_id=row.dataset_id,
                created_at=row.created_at,
                created_by_name=row.created_by_name,
                mine=_mine(me, row),
                kind=row.kind,
                instruction=row.instruction,
                files=sum(of_it.states.values()),
                episode_files=of_it.episode_files,
                size_bytes=of_it.size_bytes,
                received_bytes=of_it.received_bytes,
                counts=of_it.states,
                expires_at=expires_at(studio, row),
            )
        )
    return outs


def file_outs(db: Session, rows: Sequence[UploadedFile]) -> list[UploadFileOut]:
    numbers = repository.numbers(db, [row.episode_id for row in rows if row.episode_id is not None])
    own = [name for name in UploadFileOut.model_fields if name not in {"episode_number", "url"}]
    return [
        UploadFileOut(
            **{name: getattr(row, name) for name in own},
            episode_number=None if row.episode_id is None else numbers.get(row.episode_id),
            url=url_of(row),
        )
        for row in rows
    ]


def url_of(row: UploadedFile) -> str:
    return f"/api/uploads/files/{row.id}"


# --- changed --------------------------------------------------------------------------------------------------------


def say_digest(db: Session, me: Actor, studio: Studio, file_id: str, said: DigestIn) -> UploadFileOut:
    """What the file is going to be. One that the dataset has need not be sent.

    Raises ConflictError where another sum was said before and it is not to be begun anew.
    """
    upload, row = found_file(db, file_id)
    refuse_stranger(me, upload)
    sha256 = said.sha256
    if row.sha256 not in {None, sha256} and row.state is UploadState.UPLOADING and said.restart:
        row.received = 0
        remove_after_commit(db, row.path, [studio.settings.folder.staged(upload.id) / row.id])
    elif row.sha256 not in {None, sha256}:
        raise ConflictError(
            f"{row.path} was begun as another file of this name and size: its sha256 is another one. Send this one "
            "from its beginning, or under another name.",
            detail={"sha256": row.sha256},
        )
    if row.state is UploadState.UPLOADING:
        row.sha256 = sha256
        twin = repository.same_file(db, upload.dataset_id, [sha256]).get(sha256)
        if twin is not None and upload.kind is UploadKind.EPISODES:
            mark_already_there(row, twin)
            remove_after_commit(db, row.path, [studio.settings.folder.staged(upload.id) / row.id])
    return file_outs(db, [row])[0]


def note_received(db: Session, studio: Studio, file_id: str, there: int) -> UploadedFile | None:
    """Write down how much of a file there is; one that is whole is received. None: it was cancelled meanwhile."""
    row = repository.file_by_id(db, file_id)
    if row is None or row.state is not UploadState.UPLOADING:
        return row
    upload = found(db, row.upload_id)
    now = database_now(db)
    if now - upload.touched_at > _TOUCH:
        upload.touched_at = now
    row.received = min(there, row.size)
    if there >= row.size:
        row.state, row.received_at, row.message = UploadState.RECEIVED, utc_now(), None
        publish_after_commit(db, studio, "dataset", upload.dataset_id)
    return row


def cancel(db: Session, me: Actor, studio: Studio, upload_id: str) -> None:
    """Forget an upload and what arrived of it; episodes that were taken in stay."""
    upload = found(db, upload_id, lock=True)
    refuse_stranger(me, upload)
    refuse_read(db, studio, upload)
    record(db, me, "upload.cancel", upload.id, dataset=upload.dataset_id)
    _remove(db, studio, upload)


def cancel_file(db: Session, me: Actor, studio: Studio, file_id: str) -> None:
    """As `cancel`, of one file; with its last file the upload goes."""
    upload, row = found_file(db, file_id)
    found(db, upload.id, lock=True)
    refuse_stranger(me, upload)
    refuse_read(db, studio, upload)
    db.delete(row)
    db.flush()
    if repository.sums(db, [upload.id]):
        publish_after_commit(db, studio, "dataset", upload.dataset_id)
        remove_after_commit(db, row.path, [studio.settings.folder.staged(upload.id) / row.id])
    else:
        _remove(db, studio, upload)


def refuse_read(db: Session, studio: Studio, upload: Upload) -> None:
    """Raises ConflictError while an import reads the upload's files."""
    if _is_read(db, studio, upload):
        raise ConflictError("An import reads these files at the moment; wait for its end, or cancel it first.")


def _is_read(db: Session, studio: Studio, upload: Upload) -> bool:
    here = studio.settings.folder.staged(upload.id)
    return any(Path(folder).is_relative_to(here) for folder in repository.folders_of_imports(db, upload.dataset_id))


def forget_old(studio: Studio) -> int:
    """Remove uploads of which nothing came for longer than they are kept; returns how many. Raises SQLAlchemyError, and
    FilesLeftError for files that could not be removed."""
    days = studio.settings.upload_days
    with studio.db.transaction() as db:
        old = repository.touched_before(db, database_now(db) - timedelta(days=days))
        rows = [row for row in old if not _is_read(db, studio, row)]
        for row in rows:
            record(db, None, "upload.expire", row.id, dataset=row.dataset_id)
            _remove(db, studio, row)
    return len(rows)


def _remove(db: Session, studio: Studio, upload: Upload) -> None:
    repository.remove(db, upload.id)
    publish_after_commit(db, studio, "dataset", upload.dataset_id)
    remove_after_commit(db, "The upload", [studio.settings.folder.staged(upload.id)])


def is_over_time(studio: Studio, upload: Upload) -> bool:
    return expires_at(studio, upload) < utc_now()
