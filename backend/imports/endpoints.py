"""/api/import, /api/datasets/{id}/import."""

from fastapi import APIRouter, Response

from backend.access.dependencies import Db, Operator, Parts
from backend.imports import profiles, service
from backend.imports.schemas import (
    FileIn,
    ImportCandidate,
    ImportIn,
    ImportPreviewIn,
    ImportPreviewOut,
    ProfileIn,
    ProfileOut,
    ProfilePatch,
    ReadProfileOut,
    TableOut,
)
from backend.jobs.schemas import JobOut

router = APIRouter(prefix="/api", tags=["imports"])


@router.get("/import/candidates")
def import_candidates(me: Operator, studio: Parts) -> list[ImportCandidate]:
    """Folders with episodes of any format below the configured roots."""
    return service.import_candidates(studio)


@router.post("/import/preview")
def preview_import(me: Operator, studio: Parts, body: ImportPreviewIn) -> ImportPreviewOut:
    """One episode of a folder, as the profile would have it; nothing is imported."""
    return service.preview(studio, body)


@router.post("/datasets/{dataset_id}/import", status_code=202)
def import_folder(db: Db, me: Operator, studio: Parts, dataset_id: str, body: ImportIn) -> JobOut:
    """All episodes of a folder, by a job; its result names those that were refused, with the reasons."""
    return service.import_folder(db, me, studio, dataset_id, body)


@router.get("/import/profiles")
def list_import_profiles(db: Db, me: Operator) -> list[ProfileOut]:
    return profiles.profiles(db)


@router.post("/import/profiles", status_code=201)
def create_import_profile(db: Db, me: Operator, body: ProfileIn) -> ProfileOut:
    return profiles.create(db, me, body)


@router.patch("/import/profiles/{profile_id}")
def change_import_profile(db: Db, me: Operator, profile_id: str, body: ProfilePatch) -> ProfileOut:
    return profiles.change(db, me, profile_id, body)


@router.delete("/import/profiles/{profile_id}", status_code=204)
def delete_import_profile(db: Db, me: Operator, profile_id: str) -> None:
    profiles.delete(db, me, profile_id)


@router.get("/import/profiles/{profile_id}/file", response_class=Response)
def download_import_profile(db: Db, me: Operator, profile_id: str) -> Response:
    """YAML, as `dexvla import --profile` takes it."""
    return profiles.as_file(db, profile_id)


@router.post("/import/read/profile", max_body_size=8 * 2**20)
def read_import_profile(me: Operator, body: FileIn) -> ReadProfileOut:
    """A profile out of a YAML or JSON file; nothing is stored."""
    return profiles.read(body)


@router.post("/import/read/instructions", max_body_size=8 * 2**20)
def read_instructions(me: Operator, body: FileIn) -> TableOut:
    """Instructions by episode out of a CSV, JSON or YAML file, for a profile; nothing is stored."""
    return profiles.read_table(body)
