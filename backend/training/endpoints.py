"""/api/training (the form) and /api/runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.core.paging import CursorPage, tell_rest
from backend.jobs.schemas import JobOut
from backend.training import service
from backend.training.blocks import LAST_STEP
from backend.training.schemas import MetricsOut, RunCheck, RunDetail, RunIn, RunOut, RunsIn, TrainForm

router = APIRouter(prefix="/api", tags=["training"])


@router.get("/training/form")
def get_form(me: Viewer) -> TrainForm:
    return service.form()


@router.post("/training/check")
def check_run(db: Db, me: Operator, studio: Parts, body: RunIn) -> RunCheck:
    """What would be wrong with this run, at once and without loading a model."""
    return service.check(db, studio, body)


@router.post("/training/preflight", status_code=202)
def preflight_run(db: Db, me: Operator, studio: Parts, body: RunIn) -> JobOut:
    """Load data and model on a worker and look at memory, disk and labels; the job's result is the report."""
    return service.preflight(db, me, studio, body)


@router.get("/runs")
def list_runs(db: Db, me: Viewer, response: Response) -> list[RunOut]:
    """The newest of them, 1000 at most; /page has them all, as a header `Link` says where this list was cut."""
    found = service.runs(db)
    tell_rest(response, len(found), "/api/runs/page")
    return found


@router.get("/runs/page")
def page_runs(db: Db, me: Viewer, asked: Annotated[RunsIn, Query()]) -> CursorPage[RunOut]:
    """A part of the list, searched, filtered and sorted here."""
    return service.page(db, asked)


@router.post("/runs", status_code=201)
def start_run(db: Db, me: Operator, studio: Parts, body: RunIn) -> RunDetail:
    return service.start(db, me, studio, body)


@router.get("/runs/{run_id}")
def get_run(db: Db, me: Viewer, studio: Parts, run_id: str) -> RunDetail:
    return service.run(db, studio, run_id)


@router.delete("/runs/{run_id}", status_code=204)
def delete_run(db: Db, me: Operator, studio: Parts, run_id: str) -> None:
    """Removes its files. Refused (409) while it runs or while another run started from one of its checkpoints."""
    service.delete(db, me, studio, run_id)


@router.get("/runs/{run_id}/metrics")
def get_metrics(
    db: Db,
    me: Viewer,
    run_id: str,
    after: Annotated[int, Query(ge=0, le=LAST_STEP, description="Only steps after this one")] = 0,
    until: Annotated[int, Query(ge=1, le=LAST_STEP, description="Only steps up to this one")] = LAST_STEP,
    points: Annotated[int, Query(ge=10, le=5000)] = 1000,
) -> MetricsOut:
    return service.metrics(db, run_id, after=after, until=until, points=points)


@router.get("/runs/{run_id}/spec.yaml", response_class=Response)
def get_spec(db: Db, me: Viewer, studio: Parts, run_id: str) -> Response:
    return service.spec_file(db, studio, run_id)
