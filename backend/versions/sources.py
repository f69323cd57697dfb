"""What runs train on, for people."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from backend.core.paging import elements, has
from backend.datasets import repository
from backend.tables.dataset import Dataset
from backend.tables.dataset_version import DatasetVersion
from backend.tables.run import Run
from backend.versions.schemas import SourceOut


def sources_out(db: Session, sources: list[dict[str, Any]]) -> list[SourceOut]:
    """What a run trains on, for people: [{"version_id", "weight"}] with names."""
    found = repository.versions_by_id(db, [source["version_id"] for source in sources])
    names = repository.names(db, [version.dataset_id for version in found.values()])
    return [
        SourceOut(
            version_id=version.id,
            dataset_id=version.dataset_id,
            dataset_name=names[version.dataset_id],
            number=version.number,
            manifest_sha256=version.manifest_sha256,
            weight=source["weight"],
        )
        for source in sources
        if (version := found.get(source["version_id"])) is not None
    ]


def sources_of(db: Session, runs: Sequence[Run]) -> dict[str, list[SourceOut]]:
    """By run id, in one go for a whole list."""
    versions = {source["version_id"]: source for run in runs for source in run.sources}
    found = {out.version_id: out for out in sources_out(db, list(versions.values()))}
    return {
        run.id: [
            found[source["version_id"]].model_copy(update={"weight": source["weight"]})
            for source in run.sources
            if source["version_id"] in found
        ]
        for run in runs
    }


def trained_on(db: Session, word: str) -> ColumnElement[bool]:
    """Runs with data of a dataset whose name has the word."""
    source = elements(db, Run.sources, objects=True)
    named = select(DatasetVersion.id).join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    its = source.c.value["version_id"].as_string().in_(named.where(has(Dataset.name, word)))
    return select(source.c.value).where(its).exists()


def version_names(db: Session, ids: Sequence[str]) -> dict[str, str]:
    """For people, by id: cubes v2."""
    found = repository.versions_by_id(db, ids)
    names = repository.names(db, [version.dataset_id for version in found.values()])
    return {version.id: f"{names[version.dataset_id]} v{version.number}" for version in found.values()}
