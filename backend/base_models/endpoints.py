"""/api/models: base models and experts that runs may start from."""

from fastapi import APIRouter

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.base_models import service
from backend.base_models.schemas import ModelCandidate, ModelIn, ModelOut, TinyModelIn
from backend.jobs.schemas import JobOut

router = APIRouter(prefix="/api/models", tags=["models"])


@router.get("")
def list_models(db: Db, me: Viewer, studio: Parts) -> list[ModelOut]:
    return service.models(db, studio)


@router.get("/candidates")
def list_candidates(me: Operator, studio: Parts) -> list[ModelCandidate]:
    return service.candidates(studio)


@router.post("", status_code=201)
def register_model(me: Operator, studio: Parts, body: ModelIn) -> ModelOut:
    """Its files are read once, for sums that every training compares them with: seconds for each few gigabytes."""
    return service.register(me, studio, body)


@router.post("/tiny", status_code=202)
def make_tiny_model(db: Db, me: Operator, studio: Parts, body: TinyModelIn) -> JobOut:
    """The job's subject is the model, which appears when it is done."""
    return service.make_tiny(db, me, studio, body)


@router.delete("/{model_id}", status_code=204)
def forget_model(db: Db, me: Operator, studio: Parts, model_id: str) -> None:
    """Files of a registered model stay where they are; those of a tiny model made here go."""
    service.forget(db, me, studio, model_id)
