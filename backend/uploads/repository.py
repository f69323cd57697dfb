"""Queries about uploads and their files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from backend.tables.episode import EpisodeRow
from backend.tables.job import Job, JobKind, JobState
from backend.tables.upload import Upload, UploadedFile, UploadState


def by_id(db: Session, upload_id: str, *, lock: bool = False) -> Upload | None:
    """lock: before any of its files is; whoever deletes all of it does so."""
    return db.get(Upload, upload_id, with_for_update=lock or None)


def file_by_id(db: Session, file_id: str) -> UploadedFile | None:
    return db.get(UploadedFile, file_id)


def add(db: Session, upload: Upload, files: Sequence[UploadedFile]) -> None:
    db.add(upload)
    db.flush()
    columns = UploadedFile.__table__.columns.keys()
    db.execute(insert(UploadedFile), [{name: getattr(row, name) for name in columns} for row in files])


def of_dataset(db: Session, dataset_id: str) -> Sequence[Upload]:
    """Newest first."""
    return db.scalars(select(Upload).where(Upload.dataset_id == dataset_id).order_by(Upload.created_at.desc())).all()


def files_of(db: Session, upload_ids: Collection[str]) -> Sequence[UploadedFile]:
    """By path."""
    query = select(UploadedFile).where(UploadedFile.upload_id.in_(upload_ids))
    return db.scalars(query.order_by(UploadedFile.path)).all()


def paths_of(db: Session, upload_id: str) -> list[tuple[str, str]]:
    """Id and path of each of its files, by path."""
    query = select(UploadedFile.id, UploadedFile.path).where(UploadedFile.upload_id == upload_id)
    return [(id, path) for id, path in db.execute(query.order_by(UploadedFile.path))]


def receive_episodes(db: Session, upload_id: str) -> int:
    """Its HDF5 files are to be taken in; returns how many."""
    episodes = update(UploadedFile).where(UploadedFile.upload_id == upload_id, UploadedFile.is_episode)
    return len(db.scalars(episodes.values(state=UploadState.RECEIVED).returning(UploadedFile.id)).all())


def remove_others(db: Session, upload_id: str) -> Sequence[str]:
    """All but its HDF5 files; returns their ids."""
    others = delete(UploadedFile).where(UploadedFile.upload_id == upload_id, UploadedFile.is_episode.is_(False))
    return db.scalars(others.returning(UploadedFile.id)).all()


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Of the files of one upload. states: how many are in each."""

    states: dict[UploadState, int]
    episode_files: int
    size_bytes: int
    received_bytes: int


def sums(db: Session, upload_ids: Collection[str]) -> dict[str, Sums]:
    query = select(
        UploadedFile.upload_id,
        UploadedFile.state,
        func.count(),
        func.sum(case((UploadedFile.is_episode, 1), else_=0)),
        func.sum(UploadedFile.size),
        func.sum(UploadedFile.received),
    ).where(UploadedFile.upload_id.in_(upload_ids))
    found: dict[str, Sums] = {}
    for upload_id, state, count, episodes, size, received in db.execute(
        query.group_by(UploadedFile.upload_id, UploadedFile.state)
    ):
        one = found.get(upload_id, Sums(states={}, episode_files=0, size_bytes=0, received_bytes=0))
        found[upload_id] = Sums(
            states={**one.states, state: count},
            episode_files=one.episode_files + int(episodes),
            size_bytes=one.size_bytes + int(size),
            received_bytes=one.received_bytes + int(received),
        )
    return found


def in_state(db: Session, state: UploadState) -> Sequence[str]:
    """Ids of files, those first that came first."""
    query = select(UploadedFile.id).where(UploadedFile.state == state)
    return db.scalars(query.order_by(UploadedFile.received_at, UploadedFile.id)).all()


def unfinished(db: Session, person: str) -> int:
    """Uploads of a person of which bytes are still missing."""
    query = select(func.count(func.distinct(Upload.id))).join(UploadedFile, UploadedFile.upload_id == Upload.id)
    return db.scalar(query.where(Upload.created_by == person, UploadedFile.state == UploadState.UPLOADING)) or 0


def missing_bytes(db: Session) -> int:
    """That all uploads together still have to receive."""
    query = select(func.sum(UploadedFile.size - UploadedFile.received))
    return int(db.scalar(query.where(UploadedFile.state == UploadState.UPLOADING)) or 0)


def same_file(db: Session, dataset_id: str, digests: Collection[str]) -> dict[str, EpisodeRow]:
    """Episodes of a dataset that were uploaded as a file of one of these digests, by digest."""
    wanted, found = sorted(set(digests)), {}
    for start in range(0, len(wanted), 500):
        query = select(EpisodeRow).where(
            EpisodeRow.dataset_id == dataset_id,
            EpisodeRow.deleted_at.is_(None),
            EpisodeRow.source_sha256.in_(wanted[start : start + 500]),
        )
        found.update({row.source_sha256: row for row in db.scalars(query) if row.source_sha256})
    return found


def numbers(db: Session, episode_ids: Collection[str]) -> dict[str, int]:
    """Of episodes that are there, by id."""
    wanted, found = sorted(set(episode_ids)), {}
    for start in range(0, len(wanted), 500):
        query = select(EpisodeRow.id, EpisodeRow.number).where(
            EpisodeRow.id.in_(wanted[start : start + 500]), EpisodeRow.deleted_at.is_(None)
        )
        found.update({id: number for id, number in db.execute(query)})
    return found


def ids(db: Session) -> set[str]:
    return set(db.scalars(select(Upload.id)))


def touched_before(db: Session, moment: datetime) -> Sequence[Upload]:
    """They are this transaction's to remove."""
    query = select(Upload).where(Upload.touched_at < moment)
    return db.scalars(query.with_for_update(skip_locked=True)).all()


def remove(db: Session, upload_id: str) -> None:
    db.execute(delete(UploadedFile).where(UploadedFile.upload_id == upload_id))
    db.execute(delete(Upload).where(Upload.id == upload_id))


def folders_of_imports(db: Session, dataset_id: str) -> list[str]:
    """What imports into a dataset read that are not over."""
    going_on = [state for state in JobState if not state.over]
    query = select(Job).where(Job.kind == JobKind.IMPORT, Job.subject_id == dataset_id, Job.state.in_(going_on))
    return [str(job.payload["folder"]) for job in db.scalars(query)]
