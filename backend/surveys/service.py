"""A dataset at one look: what was measured of its episodes, put together."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy.orm import Session

from backend.core.errors import ConflictError, NotFoundError
from backend.datasets import repository as datasets
from backend.episodes.names import dimension_names
from backend.identity.actor import Actor
from backend.jobs import service as jobs
from backend.jobs.schemas import JobOut
from backend.studio.context import Studio
from backend.surveys import repository
from backend.surveys.jobs import MeasurePayload
from backend.surveys.repository import Measured
from backend.surveys.schemas import SurveyedEpisode, SurveyOut, Unreadable
from backend.tables.dataset import Dataset
from backend.tables.job import JobKind, JobState
from dexvla.episodes.survey import survey
from dexvla.spec.survey import EpisodeTraits, Survey

_DATASETS = 4  # of which the last survey is remembered: a thousand episodes take a second of computing
_remembered: OrderedDict[tuple[str, tuple[str, ...]], tuple[Survey, tuple[EpisodeTraits, ...]]] = OrderedDict()
_lock = threading.Lock()


def look(db: Session, dataset_id: str) -> SurveyOut:
    """Raises NotFoundError."""
    _dataset(db, dataset_id)
    rows = repository.measured(db, dataset_id)
    readable = [row for row in rows if row.traits is not None]
    found, traits = _survey(dataset_id, readable)
    dimensions = 0 if found is None else max(len(found.state), len(found.action))
    robot = readable[0].robot if readable else None
    return SurveyOut(
        missing=repository.how_many_missing(db, dataset_id),
        episodes=[
            SurveyedEpisode(
                id=row.id,
                number=row.number,
                steps=each.steps,
                seconds=each.duration_s,
                success=row.success,
                idle_head=each.idle_head,
                idle_tail=each.idle_tail,
            )
            for row, each in zip(readable, traits, strict=True)
        ],
        unreadable=[
            Unreadable(id=row.id, number=row.number, error=row.error or "it cannot be read")
            for row in rows
            if row.traits is None
        ],
        survey=found,
        dimension_names=dimension_names(robot, dimensions),
    )


def measure(db: Session, me: Actor, studio: Studio, dataset_id: str) -> JobOut:
    """Measure what was not measured yet, and what could not be read.

    Raises NotFoundError, and ConflictError where nothing is to be done.
    """
    row = _dataset(db, dataset_id, lock=True)  # of two who ask at once the second finds the job of the first
    under_way = jobs.newest(db, kind=JobKind.MEASURE, subject_id=dataset_id, active=True, limit=2).items
    going = next((job for job in under_way if job.state is not JobState.CANCELLING), None)
    if going is None:
        repository.forget_errors(db, dataset_id)
    left = repository.how_many_missing(db, dataset_id)
    if not left:
        raise ConflictError("All episodes of this dataset are measured.")
    if going is not None:
        return going
    job = jobs.enqueue(
        db,
        studio,
        me,
        kind=JobKind.MEASURE,
        title=f"Measure {left} {'episode' if left == 1 else 'episodes'}: {row.name}",
        payload=MeasurePayload(dataset_id=row.id),
        subject_id=row.id,
        total=left,
    )
    return jobs.job_out(db, job)


def _dataset(db: Session, dataset_id: str, *, lock: bool = False) -> Dataset:
    row = datasets.by_id(db, dataset_id, lock=lock)
    if row is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    return row


def _survey(dataset_id: str, rows: Sequence[Measured]) -> tuple[Survey | None, tuple[EpisodeTraits, ...]]:
    """What was measured never changes, so the same episodes have the same survey."""
    if not rows:
        return None, ()
    key = dataset_id, tuple(row.id for row in rows)
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    traits = tuple(EpisodeTraits.model_validate(row.traits) for row in rows)
    found = survey(traits)
    with _lock:
        for other in [other for other in _remembered if other[0] == dataset_id]:
            del _remembered[other]
        _remembered[key] = found, traits
        while len(_remembered) > _DATASETS:
            _remembered.popitem(last=False)
    return found, traits
