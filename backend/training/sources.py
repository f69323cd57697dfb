"""What runs train on, for people."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from backend.datasets.service import sources_out
from backend.training.models import Run
from backend.training.schemas import SourceOut


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
