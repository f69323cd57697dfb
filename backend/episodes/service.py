"""Lists of episodes, their frames and motion, upload, download and deletion."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from backend.audit.service import record
from backend.core.db import NO_KEY, database_now
from backend.core.errors import ConflictError, NotFoundError
from backend.core.paging import CursorPage
from backend.core.schemas import Page
from backend.episodes import frames, listing, repository
from backend.episodes.files import file_of, place
from backend.episodes.names import gripper_dimensions, names_of
from backend.episodes.schemas import CameraOut, EpisodeDetail, EpisodeOut, EpisodesIn
from backend.identity.actor import Actor
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.studio.removal import remove_files_after_commit
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.episode import EpisodeRow
from backend.tables.episode_edit import EditAction, EpisodeEdit
from backend.tables.segment import LabelSegment
from dexvla.episodes.reader import open_episode
from dexvla.files import atomic_file

# Motion and frames of an episode never change, so what shows them may be kept for good.
_FOREVER = "private, max-age=31536000, immutable"


def episodes(db: Session, me: Actor, dataset_id: str, *, offset: int, limit: int) -> Page[EpisodeOut]:
    if db.get(Dataset, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    rows, total = repository.page(db, dataset_id, offset=offset, limit=limit)
    return Page(items=outs(db, me, list(rows)), total=total)


def page(db: Session, me: Actor, dataset_id: str, asked: EpisodesIn) -> CursorPage[EpisodeOut]:
    if db.get(Dataset, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    rows, cursor, total = listing.page(db, dataset_id, asked)
    return CursorPage(items=outs(db, me, rows), next=cursor, total=total)


def outs(db: Session, me: Actor, rows: list[EpisodeRow]) -> list[EpisodeOut]:
    segments = _segments(db, me, rows)
    return [EpisodeOut.model_validate(_facts(row, segments.get(row.id, ()))) for row in rows]


def _segments(db: Session, me: Actor, rows: list[EpisodeRow]) -> dict[str, tuple[LabelSegment, ...]]:
    """Of the drafts, by episode; none of those whose labels this person must not know yet, not even how many."""
    ids = [row.id for row in rows]
    hidden = repository.blindly_labelled(db, ids, me.id)
    return {key: draft.segments for key, draft in repository.drafts_of(db, ids).items() if key not in hidden}


def _facts(row: EpisodeRow, segments: Sequence[LabelSegment]) -> dict[str, Any]:
    names = {name for name in EpisodeOut.model_fields if name not in {"seconds", "segments"}}
    return {
        **{name: getattr(row, name) for name in names},
        "seconds": None if row.fps is None else row.steps / row.fps,
        "segments": sum(1 for segment in segments if segment.text.strip()),
    }


def episode(db: Session, me: Actor, episode_id: str) -> EpisodeDetail:
    row = find(db, episode_id)
    dataset = db.get(Dataset, row.dataset_id)
    assert dataset is not None
    before, after = repository.neighbours(db, row)
    return EpisodeDetail(
        **_facts(row, _segments(db, me, [row]).get(row.id, ())),
        identity=row.identity,
        cameras=[CameraOut.model_validate(camera) for camera in row.cameras],
        action_dim=row.action_dim,
        state_dim=row.state_dim,
        dimension_names=names_of(row),
        gripper_dimensions=gripper_dimensions(row.robot, row.action_dim),
        sim=row.sim,
        render_profile=row.render_profile,
        original_name=row.original_name,
        guesses=row.guesses,
        dataset_name=dataset.name,
        vocabulary=dataset.vocabulary,
        previous_id=before,
        next_id=after,
    )


def find(db: Session, episode_id: str) -> EpisodeRow:
    row = repository.by_id(db, episode_id)
    if row is None:
        raise NotFoundError("There is no such episode; it may have been deleted.")
    return row


# --- what the page shows ----------------------------------------------------------------------------------------


def motion(db: Session, studio: Studio, episode_id: str, *, binary: bool, known: str | None) -> Response:
    row = find(db, episode_id)
    if binary:
        what, media_type = "motion-columns", "application/octet-stream"
        return _constant(row, what, media_type, known, lambda: frames.motion_columns(file_of(studio, row)))
    return _constant(row, "motion", "application/json", known, lambda: frames.motion(file_of(studio, row)))


def thumbnail(db: Session, studio: Studio, episode_id: str, *, known: str | None) -> Response:
    row = find(db, episode_id)
    cached = studio.settings.folder.cache / f"{row.identity}.jpg"

    def make() -> bytes:
        with suppress(FileNotFoundError):
            return cached.read_bytes()
        jpeg = frames.thumbnail(file_of(studio, row))
        with suppress(OSError), atomic_file(cached) as temporary:  # a full disk: it is made again the next time
            temporary.write_bytes(jpeg)
        return jpeg

    return _constant(row, "thumbnail", "image/jpeg", known, make)


def frame(db: Session, studio: Studio, episode_id: str, camera: str, step: int, *, known: str | None) -> Response:
    row = find(db, episode_id)
    names = [known["name"] for known in row.cameras]
    if camera not in names:
        raise NotFoundError(f"Episode {row.number} has no camera {camera}; it has {', '.join(names)}.")
    if not 0 <= step < row.steps:
        raise NotFoundError(f"Episode {row.number} has steps 0 to {row.steps - 1}; there is no step {step}.")

    def make() -> bytes:
        with open_episode(file_of(studio, row)) as opened:
            return frames.jpeg(opened, camera, step)

    return _constant(row, f"{camera}-{step}", "image/jpeg", known, make)


def pack(db: Session, studio: Studio, episode_id: str, wanted: frames.PackQuery, *, known: str | None) -> Response:
    row = find(db, episode_id)
    if wanted.start >= row.steps:
        raise NotFoundError(f"Episode {row.number} has steps 0 to {row.steps - 1}; there is no step {wanted.start}.")
    what = f"{wanted.start}-{wanted.count}-{wanted.stride}-{wanted.height}"
    return _constant(row, what, "application/octet-stream", known, lambda: frames.pack(file_of(studio, row), wanted))


def _constant(row: EpisodeRow, what: str, media_type: str, known: str | None, make: Callable[[], bytes]) -> Response:
    """An answer that is the same for good. known: the request's If-None-Match; what it names is not made again."""
    etag = f'"{row.identity[:32]}-{what}"'
    headers = {"Cache-Control": _FOREVER, "ETag": etag}
    if known is not None and etag in known:
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)


# --- coming and going -------------------------------------------------------------------------------------------


def delete_episode(db: Session, me: Actor, studio: Studio, episode_id: str) -> None:
    """Hide it; it can be brought back for STUDIO_UNDO_DAYS (backend.editing), and its space is freed then. Where its
    file lies on a disk that is nearly full it is gone at once."""
    row = find(db, episode_id)
    db.get(Dataset, row.dataset_id, with_for_update=NO_KEY)  # nobody makes a version of it meanwhile
    versions = db.scalars(select(DatasetVersion).where(DatasetVersion.dataset_id == row.dataset_id))
    used = [version.number for version in versions if episode_id in version.episode_ids]
    if used:
        raise ConflictError(
            f"Episode {row.number} is part of version {', '.join(map(str, sorted(used)))}, which must stay as it is. "
            "Leave the episode out of the next version instead."
        )
    row.deleted_at = database_now(db)
    record(db, me, "episode.delete", row.id, dataset=row.dataset_id, number=row.number)
    publish_after_commit(db, studio, "dataset", row.dataset_id)
    publish_after_commit(db, studio, "episode", row.id)
    if not studio.store.remote and studio.space.report() != "ok":  # who deletes on a full disk needs the room now
        row.freed_at = row.deleted_at
        remove_files_after_commit(db, studio, f"Episode {row.number}", [place(studio.settings.folder, row)])
        return
    db.add(
        EpisodeEdit(
            dataset_id=row.dataset_id,
            target_id=row.dataset_id,
            action=EditAction.DELETE,
            items=[{"sources": [row.id], "result": None, "edit": None}],
            sources=[{"episode_id": row.id, "number": row.number}],
            by_id=me.id,
            by_name=me.name,
            finished_at=row.deleted_at,
        )
    )
