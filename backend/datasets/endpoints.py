"""/api/datasets, /api/versions."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from backend.access.dependencies import Db, Operator, Parts, Viewer
from backend.core.paging import CursorPage
from backend.datasets import service
from backend.datasets.schemas import DatasetIn, DatasetOut, DatasetPatch, DatasetsIn, DemoIn
from backend.jobs.schemas import JobOut
from backend.versions import service as versions
from backend.versions.schemas import VersionIn, VersionOut

router = APIRouter(prefix="/api", tags=["datasets"])


@router.get("/datasets")
def list_datasets(db: Db, me: Viewer) -> list[DatasetOut]:
    return service.datasets(db)


@router.get("/datasets/page")
def page_datasets(db: Db, me: Viewer, asked: Annotated[DatasetsIn, Query()]) -> CursorPage[DatasetOut]:
    """A part of the list, searched and sorted here."""
    return service.page(db, asked)


@router.post("/datasets", status_code=201)
def create_dataset(db: Db, me: Operator, body: DatasetIn) -> DatasetOut:
    return service.create_dataset(db, me, body)


@router.post("/datasets/demo", status_code=202)
def record_demo(db: Db, me: Operator, studio: Parts, body: DemoIn) -> JobOut:
    """Record scripted demonstrations in the simulator; the job's subject is the dataset."""
    return service.record_demo(db, me, studio, body)


@router.get("/datasets/{dataset_id}")
def get_dataset(db: Db, me: Viewer, dataset_id: str) -> DatasetOut:
    return service.dataset(db, dataset_id)


@router.patch("/datasets/{dataset_id}")
def change_dataset(db: Db, me: Operator, dataset_id: str, body: DatasetPatch) -> DatasetOut:
    return service.change_dataset(db, me, dataset_id, body)


@router.delete("/datasets/{dataset_id}", status_code=204)
def delete_dataset(db: Db, me: Operator, studio: Parts, dataset_id: str) -> None:
    """Refused (409) while versions of it are used by runs."""
    service.delete_dataset(db, me, studio, dataset_id)


@router.get("/versions")
def list_all_versions(db: Db, me: Viewer) -> list[VersionOut]:
    """Of all datasets, newest first: what a run may train on."""
    return versions.versions(db, None)


@router.get("/datasets/{dataset_id}/versions")
def list_versions(db: Db, me: Viewer, dataset_id: str) -> list[VersionOut]:
    return versions.versions(db, dataset_id)


@router.post("/datasets/{dataset_id}/versions", status_code=201)
def create_version(
    db: Db, me: Operator, studio: Parts, dataset_id: str, body: VersionIn, response: Response
) -> VersionOut:
    """Freeze episodes and published labels into a manifest; 200 with the version there is if nothing changed since."""
    version, created = versions.create(db, me, studio, dataset_id, body)
    response.status_code = 201 if created else 200
    return version


@router.get("/versions/{version_id}/manifest")
def get_manifest(db: Db, me: Viewer, studio: Parts, version_id: str) -> FileResponse:
    return versions.manifest_file(db, me, studio, version_id)
