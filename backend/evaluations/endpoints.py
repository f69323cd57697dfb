"""/api/evaluations."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.core.paging import CursorPage, tell_rest
from backend.evaluations import service
from backend.evaluations.schemas import EvaluationDetail, EvaluationIn, EvaluationOut, EvaluationsIn

router = APIRouter(prefix="/api/evaluations", tags=["evaluations"])


@router.get("")
def list_evaluations(
    db: Db, me: Viewer, response: Response, checkpoint_id: Annotated[str | None, Query(max_length=32)] = None
) -> list[EvaluationOut]:
    """The newest of them, 1000 at most; /page has them all, as a header `Link` says where this list was cut."""
    found = service.evaluations(db, checkpoint_id=checkpoint_id)
    tell_rest(response, len(found), "/api/evaluations/page")
    return found


@router.get("/page")
def page_evaluations(db: Db, me: Viewer, asked: Annotated[EvaluationsIn, Query()]) -> CursorPage[EvaluationOut]:
    """A part of the list, searched, filtered and sorted here."""
    return service.page(db, asked)


@router.post("", status_code=201)
def start_evaluation(db: Db, me: Operator, studio: Parts, body: EvaluationIn) -> EvaluationDetail:
    return service.start(db, me, studio, body)


@router.get("/{evaluation_id}")
def get_evaluation(db: Db, me: Viewer, studio: Parts, evaluation_id: str) -> EvaluationDetail:
    return service.evaluation(db, studio, evaluation_id)


@router.delete("/{evaluation_id}", status_code=204)
def delete_evaluation(db: Db, me: Operator, studio: Parts, evaluation_id: str) -> None:
    service.delete(db, me, studio, evaluation_id)


@router.get("/{evaluation_id}/files/{name}", response_class=Response)
def get_file(
    db: Db, me: Viewer, studio: Parts, evaluation_id: str, name: Annotated[str, Path(max_length=256)]
) -> Response:
    """A video (mp4), plot (png) or details (json); Range works, so a page can seek."""
    return service.file(db, studio, evaluation_id, name)
