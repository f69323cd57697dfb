"""/api/datasets/{id}/survey."""

from fastapi import APIRouter

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.jobs.schemas import JobOut
from backend.surveys import service
from backend.surveys.schemas import SurveyOut

router = APIRouter(prefix="/api", tags=["datasets"])


@router.get("/datasets/{dataset_id}/survey")
def survey_dataset(db: Db, me: Viewer, dataset_id: str) -> SurveyOut:
    """What its episodes look like, which stand out and why, and which are there twice; of those that were measured."""
    return service.look(db, dataset_id)


@router.post("/datasets/{dataset_id}/survey", status_code=202)
def measure_dataset(db: Db, me: Operator, studio: Parts, dataset_id: str) -> JobOut:
    """Measure the episodes that were not measured yet; the job that does it already, if there is one."""
    return service.measure(db, me, studio, dataset_id)
