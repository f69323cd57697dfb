"""Dataset versions as runs and checkpoints name them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.datasets.models import Dataset, DatasetVersion
from backend.training.schemas import SourceOut


def sources_out(db: Session, sources: Sequence[dict[str, Any]]) -> list[SourceOut]:
    """[{"version_id", "weight"}] with the names that people know, in the same order; versions that are gone are left
    out (a version that a run uses is never deleted)."""
    ids = {source["version_id"] for source in sources}
    found = {
        version.id: (version, name)
        for version, name in db.execute(
            select(DatasetVersion, Dataset.name)
            .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
            .where(DatasetVersion.id.in_(ids))
        )
    }
    return [
        SourceOut(
            version_id=version.id,
            dataset_id=version.dataset_id,
            dataset_name=name,
            number=version.number,
            manifest_sha256=version.manifest_sha256,
            weight=source["weight"],
        )
        for source in sources
        if source["version_id"] in found
        for version, name in [found[source["version_id"]]]
    ]
