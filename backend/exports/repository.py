"""Queries about exports. Deleted ones are left out."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from backend.tables.export import Export
from backend.tables.job import Job, JobState


def _present() -> Select[Export]:
    return select(Export).where(Export.deleted_at.is_(None))


def by_id(db: Session, dataset_id: str, export_id: str) -> Export | None:
    return db.scalar(_present().where(Export.id == export_id, Export.dataset_id == dataset_id))


def of_dataset(db: Session, dataset_id: str) -> Sequence[Export]:
    """Newest first."""
    return db.scalars(_present().where(Export.dataset_id == dataset_id).order_by(Export.created_at.desc())).all()


def ended_before(db: Session, moment: datetime) -> Sequence[Export]:
    """Those that were made, or given up, before that; they are this transaction's to delete."""
    over = [state for state in JobState if state.over]
    ended = func.coalesce(Export.finished_at, Job.finished_at, Export.created_at)
    query = _present().join(Job, Job.id == Export.job_id).where(Job.state.in_(over), ended < moment)
    return db.scalars(query.with_for_update(of=Export, skip_locked=True)).all()
